"""Lays out `--help`: two columns that fit the terminal. In a pipe, each entry is one line, for `grep`."""

import textwrap
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cyclopts.help import HelpEntry, HelpPanel
    from rich.console import Console, ConsoleOptions

_WIDTH_MAX: Final = 100
_LABEL_MAX: Final = 28


class HelpText:
    """A formatter for cyclopts (https://cyclopts.readthedocs.io/en/latest/help.html)."""

    def __call__(self, console: "Console", options: "ConsoleOptions", panel: "HelpPanel") -> None:  # noqa: ARG002
        if panel.entries:
            entries = [(_label(entry, panel.format), _help(entry)) for entry in panel.entries]
            _print(console, f"{panel.title}:\n{columns(entries, _width())}\n")

    def render_usage(self, console: "Console", _options: "ConsoleOptions", usage: Any) -> None:
        text = _plain(usage)
        if text:
            _print(console, f"{_filled(text if text.startswith('Usage:') else f'Usage: {text}')}\n")

    def render_description(self, console: "Console", _options: "ConsoleOptions", description: Any) -> None:
        text = _plain(description)
        if text:
            _print(console, f"{_filled(text)}\n")


def columns(entries: "Iterable[tuple[str, str]]", width: int | None) -> str:
    """Lines of label and help. `width` None: nothing is wrapped."""
    rows = list(entries)
    label_cells = min(max((len(label) for label, _ in rows), default=0), _LABEL_MAX)
    if width is not None:
        label_cells = min(label_cells, max(width // 2 - 4, 8))
    lines: list[str] = []
    for label, text in rows:
        if width is None:
            lines.append(f"  {label:<{label_cells}}  {text}".rstrip())
            continue
        indent = " " * (label_cells + 4)
        room = max(width - len(indent), 20)
        wrapped = textwrap.wrap(text, room, break_on_hyphens=False) or [""]
        if len(label) > label_cells:
            lines += [f"  {label}", *(f"{indent}{line}" for line in wrapped if line)]
        else:
            lines.append(f"  {label:<{label_cells}}  {wrapped[0]}".rstrip())
            lines += [f"{indent}{line}" for line in wrapped[1:]]
    return "\n".join(lines).replace("\xa0", " ")


def _width() -> int | None:
    from runstead.cli.shared.render import Screen  # noqa: PLC0415 - not for `runstead --help`

    width = Screen.of().width
    return None if width is None else min(width, _WIDTH_MAX)


def _label(entry: "HelpEntry", kind: str) -> str:
    found = entry.display_labels_with_metavar if kind == "parameter" else entry.display_labels
    return ", ".join(found)


def _help(entry: "HelpEntry") -> str:
    parts = [_plain(entry.description)]
    if entry.choices:
        parts.append(f"[{', '.join(entry.choices)}]")
    if entry.default is not None and str(entry.default) != "False":
        parts.append(f"[default:\xa0{entry.default}]")
    if entry.required:
        parts.append("[required]")
    return " ".join(parts)


def _plain(text: Any) -> str:
    """The text of an object of Rich or of cyclopts, on one line for each paragraph."""
    if text is None:
        return ""
    found = getattr(text, "plain", None)
    if found is None:
        found = getattr(getattr(text, "primary_renderable", None), "plain", None)
    paragraphs = str(text if found is None else found).strip().split("\n\n")
    return "\n\n".join(" ".join(one.split()) for one in paragraphs)


def _filled(text: str) -> str:
    width = _width()
    if width is None:
        return text
    return "\n\n".join(textwrap.fill(one, width, break_on_hyphens=False) for one in text.split("\n\n"))


def _print(console: "Console", text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)
