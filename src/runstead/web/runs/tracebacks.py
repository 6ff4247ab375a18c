"""Splits a Python traceback into frames of the user's code and rows of others, for display."""

import re
from itertools import groupby
from typing import Final, NamedTuple

#: A frame in installed packages, the standard library or the SDK; or a row that the SDK has folded already.
_LIBRARY: Final = re.compile(
    r'  File "(?:[^"]*/(?:site-packages|dist-packages|runstead/sdk|lib/python3[^/"]*)/|<frozen )|  … \d+ frames? of '
)
_FRAME: Final = re.compile(r"  (?:File \"|… \d+ frames? of )")
_INSIDE: Final = "    "  # the source line of a frame, and its markers


class Piece(NamedTuple):
    """Consecutive lines. `kind` is `user` or `library` for frames, else `text`. `frames` is their number."""

    kind: str
    text: str
    frames: int


def pieces(traceback: str) -> list[Piece]:
    """The traceback in order; nothing is left out."""
    lines: list[tuple[str, bool, str]] = []
    kind = "text"
    for line in traceback.splitlines():
        starts = bool(_FRAME.match(line))
        if starts:
            kind = "library" if _LIBRARY.match(line) else "user"
        elif not (line.startswith(_INSIDE) and kind != "text"):
            kind = "text"
        lines.append((kind, starts, line))
    found = []
    for kind, group in groupby(lines, key=lambda one: one[0]):
        rows = list(group)
        found.append(Piece(kind, "\n".join(row[2] for row in rows), sum(row[1] for row in rows)))
    return found
