"""A run's log as lines: from log events while it runs, from the stored log when it has ended. Pure."""

import re
from typing import Final, NamedTuple

from runstead.core.runs.event import CUSTOM, Event, members_of
from runstead.core.runs.log_levels import LEVELS, level_of_entry
from runstead.web.framework.growing_text import GrowingText, TextDelta
from runstead.web.framework.text import cut

TYPES: Final = (CUSTOM,)
lines_max: Final = 1_000
line_chars_max: Final = 4_000
_WORD: Final = re.compile(r"\b(WARN(?:ING)?|ERROR|CRITICAL|FATAL)\b")


class Line(NamedTuple):
    """A line, or the text that was added to it. `level` is one of `LEVELS`, or "" for a line without one."""

    id: str
    level: str
    delta: TextDelta


def log_text(event: Event) -> tuple[str, str] | None:
    """The stream and the text of a log event; None for any other event. The stream of the SDK's log is ""."""
    if event.type != CUSTOM:
        return None
    payload = members_of(event) or {}
    value = payload.get("value")
    if not isinstance(value, dict):
        return None
    member = {"run.log": "lines", "run.output": "text"}.get(str(payload.get("name")))
    text = None if member is None else value.get(member)
    return (str(value.get("stream", "")), text) if isinstance(text, str) else None


class LineFilter(NamedTuple):
    """Which lines to show: those that contain a text, and have at least a level. A line without a level counts as info."""

    search: str = ""
    level: str = ""

    def keeps(self, level: str, text: str) -> bool:
        if self.level and LEVELS.index(level or "info") < LEVELS.index(self.level):
            return False
        return not self.search or self.search.casefold() in text.casefold()


_EVERY_LINE: Final = LineFilter()


def _level(text: str, entry: str | None) -> str:
    """The level of a line in the entry of this level: its own, or the entry's, such as that of a traceback.

    A line outside of entries has the level of a word in it, such as ERROR, or "".
    """
    known = level_of_entry(text) or entry
    if known is not None:
        return known
    found = _WORD.search(text[:80])
    return "" if found is None else "warning" if found[0].startswith("WARN") else "error"


def stored_lines(logs: str, wanted: LineFilter = _EVERY_LINE) -> tuple[list[Line], int]:
    """The last wanted lines of a stored log, and the number of those before them."""
    found, entry = [], None
    for number, text in enumerate(logs.removesuffix("\n").split("\n") if logs else []):
        entry = level_of_entry(text) or entry
        level = _level(text, entry)
        if wanted.keeps(level, text):
            found.append((number, level, text))
    return [
        Line(f"line-0-{number}", level, TextDelta(0, cut(text, line_chars_max)))
        for number, level, text in found[-lines_max:]
    ], max(len(found) - lines_max, 0)


class _GrowingLine:
    def __init__(self, line_id: str, entry: str | None) -> None:
        self.id = line_id
        self._entry = entry
        self.text = GrowingText(line_chars_max)
        self.fresh = True

    def line(self, delta: TextDelta) -> Line:
        return Line(self.id, _level(self.text.whole, self._entry), delta)


class Lines:
    """Builds lines from events, in order. A line's id contains the event that started it."""

    def __init__(self) -> None:
        self._lines: list[_GrowingLine] = []
        self._unfinished: dict[str, _GrowingLine] = {}
        self._entry: str | None = None  # the level of the last entry of the SDK's log

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
                line = _GrowingLine(f"line-{event.event_id}-{index}", None if stream else self._entry)
                self._lines.append(line)
            line.text.add(piece)
            line.fresh = True
            if not stream:
                self._entry = level_of_entry(line.text.whole) or self._entry
            if index == len(whole):
                self._unfinished[stream] = line

    def whole(self, wanted: LineFilter = _EVERY_LINE) -> list[Line]:
        """The last wanted lines, whole. `new` returns what is added later."""
        self.new()
        lines = [line.line(TextDelta(0, line.text.whole)) for line in self._lines]
        return [line for line in lines if wanted.keeps(line.level, line.delta.text)][-lines_max:]

    def new(self) -> list[Line]:
        """The lines that were added or extended since the last call of `whole` or `new`."""
        fresh = [line for line in self._lines if line.fresh]
        for line in fresh:
            line.fresh = False
        del self._lines[: -2 * lines_max]
        return [line.line(line.text.new()) for line in fresh][-lines_max:]
