"""A run's log by lines: those that its worker tells while it runs, and those that it left behind. Pure."""

import re
from typing import Final, NamedTuple

from runstead.core.runs.event import CUSTOM, Event, members_of
from runstead.web.framework.labels import New, Words
from runstead.web.framework.text import cut

TYPES: Final = (CUSTOM,)
lines_max: Final = 1_000
line_chars_max: Final = 4_000
_LEVEL: Final = re.compile(r"\b(WARN(?:ING)?|ERROR|CRITICAL|FATAL)\b")


class Line(NamedTuple):
    """A line, or what is new of it. `level`: "", "warning" or "error"."""

    id: str
    level: str
    words: New


def told_by(event: Event) -> tuple[str, str] | None:
    """What an event adds to the log, and to which of a program's streams ("" for the SDK's log); None for any other."""
    if event.type != CUSTOM:
        return None
    told = members_of(event)
    if told is None:
        return None
    value = told.get("value")
    if not isinstance(value, dict):
        return None
    member = {"run.log": "lines", "run.output": "text"}.get(str(told.get("name")))
    text = None if member is None else value.get(member)
    return (str(value.get("stream", "")), text) if isinstance(text, str) else None


def level_of(text: str) -> str:
    found = _LEVEL.search(text[:80])
    return "" if found is None else "warning" if found[0].startswith("WARN") else "error"


def left(logs: str, search: str = "") -> tuple[list[Line], int]:
    """The last lines of a log that is whole, and how many there were before them; with `search`, of those that hold it."""
    lines = logs.removesuffix("\n").split("\n") if logs else []
    numbered = list(enumerate(lines))
    if search:
        numbered = [(number, text) for number, text in numbered if search.casefold() in text.casefold()]
    shown = numbered[-lines_max:]
    return [
        Line(f"line-0-{number}", level_of(text), New(0, cut(text, line_chars_max))) for number, text in shown
    ], len(numbered) - len(shown)


class _Open:
    def __init__(self, line_id: str) -> None:
        self.id = line_id
        self.words = Words(line_chars_max)
        self.fresh = True

    def line(self, words: New) -> Line:
        return Line(self.id, level_of(self.words.whole), words)


class Lines:
    """Takes events in order. A line is named after the event that began it, and goes on in the next of its stream."""

    def __init__(self) -> None:
        self._lines: list[_Open] = []
        self._unended: dict[str, _Open] = {}

    def add(self, event: Event) -> None:
        told = told_by(event)
        if told is None:
            return
        stream, text = told
        *whole, rest = text.split("\n")
        for place, piece in enumerate([*whole, rest]):
            if place == len(whole) and not piece:
                return
            line = self._unended.pop(stream, None)
            if line is None:
                line = _Open(f"line-{event.event_id}-{place}")
                self._lines.append(line)
            line.words.add(piece)
            line.fresh = True
            if place == len(whole):
                self._unended[stream] = line

    def whole(self, search: str = "") -> list[Line]:
        """The last lines. What comes later is new."""
        self.new()
        lines = [line.line(New(0, line.words.whole)) for line in self._lines]
        if search:
            lines = [line for line in lines if search.casefold() in line.words.text.casefold()]
        return lines[-lines_max:]

    def new(self) -> list[Line]:
        """What was added since either was asked last."""
        fresh = [line for line in self._lines if line.fresh]
        for line in fresh:
            line.fresh = False
        del self._lines[: -2 * lines_max]
        return [line.line(line.words.new()) for line in fresh][-lines_max:]
