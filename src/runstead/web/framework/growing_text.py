"""Text that grows while a page shows it: sent whole first, then only what was added."""

from typing import Final, NamedTuple

from runstead.web.framework.text import harmless

text_chars_max: Final = 20_000


class TextDelta(NamedTuple):
    """Added text, with its start in UTF-16 units, as JavaScript counts, so that a page skips what it has."""

    offset: int
    text: str


class GrowingText:
    """Text made harmless, in pieces. It is cut after `chars_max` characters, with a note."""

    def __init__(self, chars_max: int = text_chars_max) -> None:
        self._pieces: list[str] = []
        self._chars_left = chars_max
        self._units = 0
        self._sent_pieces = 0
        self._sent_units = 0
        self.cut = False

    def add(self, text: str) -> None:
        if self.cut or not text:
            return
        if len(text) > self._chars_left:
            text, self.cut = text[: self._chars_left] + " … (the events contain the rest)", True
        self._chars_left -= len(text)
        text = harmless(text)
        self._pieces.append(text)
        self._units += len(text.encode("utf-16-le", "surrogatepass")) // 2

    @property
    def whole(self) -> str:
        return "".join(self._pieces)

    def new(self) -> TextDelta:
        """What was added since the last call."""
        delta = TextDelta(self._sent_units, "".join(self._pieces[self._sent_pieces :]))
        self._sent_pieces, self._sent_units = len(self._pieces), self._units
        return delta
