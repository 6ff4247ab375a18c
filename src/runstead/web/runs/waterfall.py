"""Lays out the bars of a timeline in an SVG, in percent of its width, so that it scales without a script."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from runstead.web.framework.render import took
from runstead.web.runs.timeline import Bar
from runstead.web.runs.zoom import Window, Zoom, bounded, zooms

#: Possible distances between two marks of the axis, in ms.
_STEPS: Final = (
    *(number * 10**power for power in range(3) for number in (1, 2, 5)),
    *(seconds * 1_000 for seconds in (1, 2, 5, 10, 15, 30)),
    *(minutes * 60_000 for minutes in (1, 2, 5, 10, 15, 30)),
    *(hours * 3_600_000 for hours in (1, 2, 4, 6, 12)),
    *(days * 86_400_000 for days in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000)),
)
marks_max: Final = 5
#: Longer labels of marks count from the left side instead of the start.
_label_chars_max: Final = 10
_STATES: Final = {"open": "running", "done": "done", "failed": "failed", "broken": "interrupted"}


class Row(NamedTuple):
    """A bar with its position, `x` and `width` in percent. `summary` is its tooltip.

    The page scrolls to the `focus`: the newest open bar, or else the last one that failed.
    """

    bar: Bar
    x: str
    width: str
    duration: str
    state: str
    summary: str
    focus: bool


class Mark(NamedTuple):
    x: str
    label: str


class Waterfall(NamedTuple):
    """The rows and marks of a window, from `since` to `until` (ms). `part` describes it, if it is not the whole timeline.

    `hidden` is the number of rows outside of it.
    """

    rows: list[Row]
    marks: list[Mark]
    zooms: list[Zoom]
    since: int = 0
    until: int = 0
    part: str = ""
    hidden: int = 0


def layout(bars: Sequence[Bar], now: int, window: Window | None = None) -> Waterfall:
    """The positions of all bars and marks in the window. A bar without an end ends at `now` (ms)."""
    if not bars:
        return Waterfall([], [], [])
    first = min(bar.start for bar in bars)
    last = max(now if bar.end is None else bar.end for bar in bars)
    since, until = bounded(window, first, last)
    span = until - since

    def place(at: int) -> float:
        return min(max((at - since) / span * 100, 0.0), 100.0)

    focus = _focus(bars)
    rows = []
    for bar in bars:
        end = max(now if bar.end is None else bar.end, bar.start)
        if end < since or bar.start > until:
            continue
        x = place(bar.start)
        duration = took(end - bar.start)
        note = f": {bar.note}" if bar.note else ""
        summary = f"{bar.name} ({bar.kind}), {_STATES[bar.state]}, {duration}, {took(bar.start - first)} after the start{note}"
        rows.append(
            Row(
                bar=bar,
                x=_percent(x),
                width=_percent(place(end) - x),
                duration=duration,
                state=_STATES[bar.state],
                summary=summary,
                focus=bar is focus,
            )
        )
    step = None if focus is None else (focus.start, focus.end)
    return Waterfall(
        rows=rows,
        marks=_marks(since - first, span),
        zooms=zooms(window, first, last, step, failed=focus is not None and focus.state == "failed"),
        since=since,
        until=until,
        part="" if window is None else _part(since - first, until - first),
        hidden=len(bars) - len(rows),
    )


def _focus(bars: Sequence[Bar]) -> Bar | None:
    inner = [bar for bar in bars if bar.kind != "attempt"]
    found = [bar for bar in inner if bar.state == "open"] or [bar for bar in inner if bar.state == "failed"]
    return found[-1] if found else None


def _percent(value: float) -> str:
    return f"{value:.2f}%"


def _marks(begin: int, span: int) -> list[Mark]:
    """The marks of a window that begins `begin` ms after the start."""
    step = next((one for one in _STEPS if span / one <= marks_max), _STEPS[-1])
    found = range(-(-begin // step) * step, begin + span + 1, step)
    if all(len(_label(at)) <= _label_chars_max for at in found):
        labels = [(at - begin, _label(at)) for at in found]
    else:
        labels = [(at, f"+{_label(at)}") for at in range(0, span + 1, step)]
    return [Mark(_percent(at / span * 100), label) for at, label in labels][: marks_max + 1]


def _part(begin: int, end: int) -> str:
    """The window in words, in whole seconds unless it is short."""
    unit = 1 if end - begin < 10_000 else 1_000
    return f"{_label(begin // unit * unit)} to {_label(-(-end // unit) * unit)} after the start"


def _label(ms: int) -> str:
    """A time after the start in the units that it needs, such as `5 min` or `1 min 30 s`."""
    if ms < 1_000:
        return f"{ms} ms" if ms else "0"
    parts: list[str] = []
    for unit, name in ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min")):
        count, ms = divmod(ms, unit)
        if count:
            parts.append(f"{count} {name}")
    if ms or not parts:
        parts.append(f"{ms / 1_000:g} s")
    return " ".join(parts)
