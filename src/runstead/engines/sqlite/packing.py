"""Large values are stored compressed, where that saves something. Who reads them by SQL must not be one of `PACKED`.

Compressed values say so themselves: a zlib stream begins with the letter x, with which no JSON begins, and text turns into
bytes. Events have a flag. So what was stored before is read as before.
"""

import zlib
from typing import Final

from runstead.core import limits
from runstead.core.runs.run import FIELDS

_FIRST: Final = 0x78
#: The fields of a run that may be compressed, and their places.
PACKED_FIELDS: Final = frozenset({"config", "input", "output", "request_snapshot", "logs"})
PACKED: Final = frozenset(FIELDS.index(field) for field in PACKED_FIELDS)


def pack(value: bytes) -> bytes:
    """The value, or a shorter spelling of it."""
    if len(value) < limits.compress_bytes_min:
        return value
    packed = zlib.compress(value, 1)
    return packed if len(packed) <= len(value) * limits.compress_share_max else value


def unpack(value: bytes) -> bytes:
    return zlib.decompress(value)


def pack_field(value: bytes | str | None) -> bytes | str | None:
    """A value of a run's field, as it is stored."""
    if value is None or len(value) < limits.compress_bytes_min:
        return value
    if isinstance(value, bytes):
        return pack(value)
    packed = pack(text := value.encode())
    return value if packed is text else packed


def unpack_field(value: bytes | str | None, *, text: bool) -> bytes | str | None:
    """What `pack_field` got."""
    if not isinstance(value, bytes) or not value or value[0] != _FIRST:
        return value
    return unpack(value).decode() if text else unpack(value)
