"""A run's log as lines: from log events while it runs, from the stored log when it has ended. Pure."""

import re
from typing import Final, NamedTuple

from runstead.core.runs.event import CUSTOM, Event, members_of
from runstead.web.framework.growing_text import GrowingText, TextDelta
from runstead.web.framework.text import cut

TYPES: Final = (CUSTOM,)
lines_max: Final = 1_000
line_chars_max: Final = 4_000
_LEVEL: Final = re.compile(r"\b(WARN(?:ING)?|ERROR|CRITICAL|FATAL)\b")


class Line(NamedTuple):
    """A line, or the text that was added to it. `level` is "", "warning" or "error"."""

    id: str
    level: str
    delta: TextDelta


def log_text(event: Event) -> tuple[str, str] | None:
    """The stream and the text of a log event; None for any other event. The stream of the SDK's log is ""."""
    if event.type != CUSTOM:
        return None
    payload = members_of(event)
    if payload is None:
        return None
    value = payload.get("value")
    if not isinstance(value, dict):
        return None
    member = {"run.log": "lines", "run.output": "text"}.get(str(payload.get("name")))
    text = None if member is None else value.get(member)
    return (str(value.get("stream", "")), text) if isinstance(text, str) else None


def level_of(text: str) -> str:
    """The level of a line: "", "warning" or "error"."""
    found = _LEVEL.search(text[:80])
    return "" if found is None else "warning" if found[0].startswith("WARN") else "error"


def stored_lines(logs: str, search: str = "") -> tuple[list[Line], int]:
    """The last lines of a stored log (with `search`, of those that contain it), and the number before them."""
    lines = logs.removesuffix("\n").split("\n") if logs else []
    numbered = list(enumerate(lines))
    if search:
        numbered = [(number, text) for number, text in numbered if search.casefold() in text.casefold()]
    shown = numbered[-lines_max:]
    return [
        Line(f"line-0-{number}", level_of(text), TextDelta(0, cut(text, line_chars_max)))
        for number, text in shown
    ], len(numbered) - len(shown)


class _GrowingLine:
    def __init__(self, line_id: str) -> None:
        self.id = line_id
        self.text = GrowingText(line_chars_max)
        self.fresh = True

    def line(self, delta: TextDelta) -> Line:
        return Line(self.id, level_of(self.text.whole), delta)


class Lines:
    """Builds lines from events, in order. A line's id contains the event that started it."""

    def __init__(self) -> None:
        self._lines: list[_GrowingLine] = []
        self._unfinished: dict[str, _GrowingLine] = {}

    def add(self, event: Event) -> None:
        entry = log_text(event)
        if entry is None:
            return
        stream, text = entry
        *whole, rest = text.split("\n")
        for index, piece in enumerate([*whole, rest]):
            if index == len(whole) and not piece:
                return
            line = self._unfinished.pop(stream, None)
            if line is None:
                line = _GrowingLine(f"line-{event.event_id}-{index}")
                self._lines.append(line)
            line.text.add(piece)
            line.fresh = True
            if index == len(whole):
                self._unfinished[stream] = line

    def whole(self, search: str = "") -> list[Line]:
        """The last lines, whole. `new` returns what is added later."""
        self.new()
        lines = [line.line(TextDelta(0, line.text.whole)) for line in self._lines]
        if search:
            lines = [line for line in lines if search.casefold() in line.delta.text.casefold()]
        return lines[-lines_max:]

    def new(self) -> list[Line]:
        """The lines that were added or extended since the last call of `whole` or `new`."""
        fresh = [line for line in self._lines if line.fresh]
        for line in fresh:
            line.fresh = False
        del self._lines[: -2 * lines_max]
        return [line.line(line.text.new()) for line in fresh][-lines_max:]
