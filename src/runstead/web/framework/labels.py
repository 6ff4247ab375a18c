"""Text that grows while it is looked at: told whole once, then only what is new."""

from typing import Final, NamedTuple

from runstead.web.framework.text import harmless

words_chars_max: Final = 20_000


class New(NamedTuple):
    """What was added, and at which place: in UTF-16 units, as browsers count, so that they see what they have already."""

    at: int
    text: str


class Words:
    """Harmless text, in pieces; at most `chars_max` of it, and a note where there was more."""

    def __init__(self, chars_max: int = words_chars_max) -> None:
        self._pieces: list[str] = []
        self._room = chars_max
        self._units = 0
        self._told = 0  # pieces that were told
        self._told_units = 0
        self.cut = False

    def add(self, text: str) -> None:
        if self.cut or not text:
            return
        if len(text) > self._room:
            text, self.cut = text[: self._room] + " … (the rest of it is among the events)", True
        self._room -= len(text)
        text = harmless(text)
        self._pieces.append(text)
        self._units += len(text.encode("utf-16-le", "surrogatepass")) // 2

    @property
    def whole(self) -> str:
        return "".join(self._pieces)

    def new(self) -> New:
        """What was added since this was asked last."""
        told = New(self._told_units, "".join(self._pieces[self._told :]))
        self._told, self._told_units = len(self._pieces), self._units
        return told
