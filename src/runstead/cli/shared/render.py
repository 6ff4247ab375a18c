"""Formats output for terminals and pipes: tables, JSON lines, escaped text. It does not print."""

import os
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Generic, NamedTuple, TypeVar

import msgspec

T = TypeVar("T")

ELLIPSIS: Final = "…"
#: In a pipe, cells are not cut. A cell wider than this does not widen its column for the other rows.
_PADDED_CELLS_MAX: Final = 64
_VALUE_CELLS_MAX: Final = 4_000
_COLOURS: Final = {
    "completed": "32",
    "delivered": "32",
    "active": "32",
    "ok": "32",
    "failed": "31",
    "completed_with_failures": "31",
    "fail": "31",
    "disabled": "31",
    "revoked": "31",
    "waiting": "33",
    "blocked": "33",
    "warn": "33",
    "paused": "33",
    "cancelling": "33",
    "running": "36",
    "cancelled": "2",
    "offline": "2",
}

#: Control characters (C0, C1, DEL), and invisible characters that change how a line reads: bidirectional
#: marks, zero-width characters (except the joiners of scripts and emoji), line separators, tags, surrogates.
_HARMFUL: Final = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u115f\u1160\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    "\u3164\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e0fff\ud800-\udfff"
)
_IN_LINES: Final = re.compile(f"[{_HARMFUL}]")
_IN_A_LINE: Final = re.compile(f"[\t\n{_HARMFUL}]")
_IN_JSON: Final = re.compile(f"[{_HARMFUL}]")
_SHORT: Final = {"\n": "\\n", "\t": "\\t", "\r": "\\r", "\x1b": "\\e"}


def safe(text: str, *, lines: bool = False) -> str:
    """The text with harmful characters escaped. With `lines`, newlines and tabs are kept."""
    return (_IN_LINES if lines else _IN_A_LINE).sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    one = found[0]
    if one in _SHORT:
        return _SHORT[one]
    number = ord(one)
    return (
        f"\\x{number:02x}"
        if number < 0x100
        else f"\\u{number:04x}"
        if number < 0x10000
        else f"\\U{number:08x}"
    )


def document(value: Any) -> str:
    """One line of JSON. Harmful characters are escaped, which does not change the value."""
    return _IN_JSON.sub(_json_escape, msgspec.json.encode(value).decode())


def _json_escape(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[n]:02x}{units[n + 1]:02x}" for n in range(0, len(units), 2))


class Screen(NamedTuple):
    """Where output goes. `width` is None in a pipe, where nothing is cut."""

    width: int | None
    colour: bool

    @classmethod
    def of(cls, environment: Mapping[str, str] = os.environ) -> "Screen":
        if not sys.stdout.isatty():
            return PIPE
        dumb = environment.get("TERM") == "dumb"
        width = shutil.get_terminal_size((80, 24)).columns
        return cls(max(width, 20), colour=not environment.get("NO_COLOR") and not dumb)

    def paint(self, text: str, status: str) -> str:
        colour = _COLOURS.get(status.strip())
        return f"\x1b[{colour}m{text}\x1b[0m" if self.colour and colour and text.strip() else text

    def bold(self, text: str) -> str:
        return f"\x1b[1m{text}\x1b[0m" if self.colour else text

    def line(self, text: str) -> str:
        """The text on one line, cut to the width."""
        return safe(text) if self.width is None else cut(safe(text[: self.width * 4]), self.width)


PIPE: Final = Screen(None, colour=False)


class Column(NamedTuple, Generic[T]):
    """A column of a table.

    On a narrow screen, columns are dropped: the highest `drop_rank` first, 0 never. A column with
    `keep_whole` is cut only if all others are at their minimum.
    """

    title: str
    cell: Callable[[T], str]
    drop_rank: int = 0
    keep_whole: bool = False
    number: bool = False
    status: bool = False
    cells_min: int = 8


def time_column(title: str, at: Callable[[T], datetime | None], *, drop_rank: int = 0) -> Column[T]:
    """Return a column of times."""
    return Column(title, lambda row: format_time(at(row)), drop_rank, keep_whole=True)


def age_column(title: str, at: Callable[[T], datetime | None], *, drop_rank: int = 0) -> Column[T]:
    """Return a column of times, as `3m ago` in a terminal."""
    screen = Screen.of()
    return Column(title, lambda row: format_age(at(row), screen), drop_rank, keep_whole=True)


def table(columns: Sequence[Column[T]], rows: Iterable[T], screen: Screen) -> str:
    """Aligned columns below their titles, two spaces apart."""
    cells = [[safe(column.cell(row)) for column in columns] for row in rows]
    shown = list(range(len(columns)))
    widths = [
        max([size(columns[n].title), *(min(size(row[n]), 10_000) for row in cells)])
        for n in range(len(columns))
    ]
    if screen.width is None:
        widths = [min(width, _PADDED_CELLS_MAX) for width in widths]
    else:
        shown, widths = _fit(
            columns, widths, screen.width, [n for n in shown if _is_useful(columns[n], n, cells)]
        )
    lines = [
        _row([columns[n].title for n in shown], [columns[n] for n in shown], [widths[n] for n in shown], PIPE)
    ]
    lines[0] = screen.bold(lines[0])
    for row in cells:
        fitted = [row[n] if screen.width is None else cut(row[n], widths[n]) for n in shown]
        lines.append(_row(fitted, [columns[n] for n in shown], [widths[n] for n in shown], screen))
    return "\n".join(lines)


def _is_useful(column: Column[T], n: int, cells: list[list[str]]) -> bool:
    """Whether the column has a value in any row, or is always shown."""
    return not column.drop_rank or any(row[n] for row in cells)


def _row(cells: list[str], columns: list[Column[Any]], widths: list[int], screen: Screen) -> str:
    padded = []
    for cell, column, width in zip(cells, columns, widths, strict=True):
        blanks = " " * max(width - size(cell), 0)
        painted = screen.paint(cell, cell.partition(" ")[0]) if column.status else cell
        padded.append(blanks + painted if column.number else painted + blanks)
    return "  ".join(padded).rstrip(" ")


def _fit(
    columns: Sequence[Column[T]], widths: list[int], available: int, useful: list[int]
) -> tuple[list[int], list[int]]:
    """The columns that fit, and the widths of all. Columns that are not useful are dropped first."""

    def min_width(n: int) -> int:
        return (
            widths[n]
            if columns[n].keep_whole or columns[n].number
            else min(widths[n], max(size(columns[n].title), columns[n].cells_min))
        )

    shown = list(range(len(columns)))
    while sum(map(min_width, shown)) + 2 * (len(shown) - 1) > available:
        dropped = max(shown, key=lambda n: (n not in useful, columns[n].drop_rank, n))
        if not columns[dropped].drop_rank:
            break
        shown.remove(dropped)
    fitted = list(widths)
    while (over := sum(fitted[n] for n in shown) + 2 * (len(shown) - 1) - available) > 0:
        shrinkable = [n for n in shown if fitted[n] > min_width(n)] or [n for n in shown if fitted[n] > 1]
        if not shrinkable:
            break
        widest = max(shrinkable, key=lambda n: fitted[n])
        fitted[widest] -= max(min(over, (fitted[widest] - min_width(widest)) // 2), 1)
    return shown, fitted


def details(pairs: Iterable[tuple[str, str | None]], screen: Screen) -> str:
    """Lines of `name  value`, without None values. Multi-line values keep their lines."""
    present = [(name, value) for name, value in pairs if value is not None]
    width = max((len(name) for name, _ in present), default=0)
    lines = []
    for name, value in present:
        chars_max = None if screen.width is None else _VALUE_CELLS_MAX
        text = safe(value if chars_max is None else value[: chars_max + 1], lines=True)
        if chars_max is not None and len(value) > chars_max:
            text = f"{text[:chars_max]}{ELLIPSIS} ({len(value):,} characters; --json prints all)"
        first, *more = text.split("\n")
        painted = screen.paint(first, first) if name == "status" else first
        lines.append(f"{name:<{width}}  {painted}".rstrip(" "))
        lines.extend(f"{'':<{width}}  {line}".rstrip(" ") for line in more)
    return "\n".join(lines)


def size(text: str) -> int:
    """The width in terminal cells: East Asian characters and emoji take two."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len  # noqa: PLC0415

    return cell_len(text)


def cut(text: str, width: int) -> str:
    """The text, cut to `width` cells with an ellipsis."""
    if size(text) <= width:
        return text
    if text.isascii():
        return text[: width - 1] + ELLIPSIS
    from rich.cells import set_cell_size  # noqa: PLC0415

    return set_cell_size(text, width - 1).rstrip(" ") + ELLIPSIS


def value(found: Any) -> str | None:
    """A JSON value for people; None if it is missing or empty."""
    if found is None or found in ({}, []):
        return None
    if isinstance(found, str):
        return found
    encoded = msgspec.json.encode(found)
    return (msgspec.json.format(encoded, indent=2) if len(encoded) > 72 else encoded).decode()


def format_size(size_bytes: int) -> str:
    """`812 B`, `12.3 kB`, `4.0 MB`."""
    if size_bytes < 1_000:
        return f"{size_bytes} B"
    size = size_bytes / 1_000
    for unit in ("kB", "MB", "GB"):
        if size < 999.95:
            return f"{size:.1f} {unit}"
        size /= 1_000
    return f"{size:.1f} TB"


def format_time(at: datetime | None) -> str:
    """A time such as 2026-03-20T12:00:00Z."""
    return "" if at is None else at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def format_age(at: datetime | None, screen: Screen, now: datetime | None = None) -> str:
    """`3m ago` or `in 5m` in a terminal, the time in a pipe."""
    if at is None or screen.width is None:
        return format_time(at)
    seconds = ((now or datetime.now(UTC)) - at).total_seconds()
    return f"{format_duration(seconds)} ago" if seconds >= 0 else f"in {format_duration(-seconds)}"


def format_duration(seconds: float) -> str:
    """`0.4s`, `42s`, `3m`, `5h`, `12d`."""
    if seconds < 9.95:
        return f"{seconds:.1f}s".replace(".0s", "s")
    for unit, length, least in (("d", 86_400, 2 * 86_400), ("h", 3_600, 2 * 3_600), ("m", 60, 120)):
        if seconds >= least:
            return f"{seconds // length:.0f}{unit}"
    return f"{seconds:.0f}s"
