"""The cursor of a family's events: a position and a mark of the family. Opaque to clients."""

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
    """Build the cursor of a position in the family with this mark."""
    return f"f{mark}-{position}"


def from_cursor(run: Run, cursor: str | None, where: str) -> int:
    """Return the position of a cursor, 0 for none. `where` names its source in the error.

    Raises INVALID_REQUEST for a cursor of another family and for an event id, which would skip events.
    """
    if cursor is None or not cursor.strip():
        return 0
    match = _FORM.fullmatch(cursor.strip())
    if match is None or match[1] != mark_of(run) or int(match[2]) > limits.integer_max:
        raise Error(
            "INVALID_REQUEST",
            f"{where} is not a cursor of this family: use one from its list or stream, with include_descendants",
            errors=(("$.cursor", "unknown cursor"),) if where == "Query: cursor" else (),
        )
    return int(match[2])


def mark_of(run: Run) -> str:
    """Return a short checksum of the family's root, which is the same for all its runs."""
    return f"{zlib.crc32(str(run.root_seq or run.seq).encode()):08x}"
