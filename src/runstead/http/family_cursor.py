"""The cursor of a family's events: a position, and a mark of whose it is. Opaque to clients."""

import re
import zlib
from typing import Final

from runstead.core import limits
from runstead.core.errors import Error
from runstead.core.runs.run import Run

_FORM: Final = re.compile(r"f([0-9a-f]{8})-([0-9]{1,16})")


def to_cursor(run: Run, position: int) -> str:
    return cursor_at(mark_of(run), position)


def cursor_at(mark: str, position: int) -> str:
    """The cursor of a position in the family that has this mark."""
    return f"f{mark}-{position}"


def from_cursor(run: Run, cursor: str | None, where: str) -> int:
    """The position, 0 for none. A cursor of another family, or an event id, is refused: it would skip events."""
    if cursor is None or not cursor.strip():
        return 0
    match = _FORM.fullmatch(cursor.strip())
    if match is None or match[1] != mark_of(run) or int(match[2]) > limits.integer_max:
        raise Error(
            "INVALID_REQUEST",
            f"{where} is no cursor of this family: take one from its list or stream, with include_descendants",
            errors=(("$.cursor", "unknown cursor"),) if where == "Query: cursor" else (),
        )
    return int(match[2])


def mark_of(run: Run) -> str:
    """The same for all runs of a family."""
    return f"{zlib.crc32(str(run.root_seq or run.seq).encode()):08x}"
