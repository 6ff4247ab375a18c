"""Compresses large values if that makes them smaller. SQL must not read the fields in `PACKED`.

A compressed value needs no flag: a zlib stream begins with the letter x, which begins no JSON, and compressed text is
stored as bytes. Events have a flag.
"""

import zlib
from typing import Final

from runstead.core import limits
from runstead.core.runs.run import FIELDS

_FIRST: Final = 0x78
#: The fields of a run that may be compressed, and their indexes.
PACKED_FIELDS: Final = frozenset({"config", "input", "output", "request_snapshot", "logs"})
PACKED: Final = frozenset(FIELDS.index(field) for field in PACKED_FIELDS)


def pack(value: bytes) -> bytes:
    """The value, compressed if that makes it smaller."""
    if len(value) < limits.compress_bytes_min:
        return value
    packed = zlib.compress(value, 1)
    return packed if len(packed) <= len(value) * limits.compress_share_max else value


def unpack(value: bytes) -> bytes:
    return zlib.decompress(value)


def pack_field(value: bytes | str | None) -> bytes | str | None:
    """The stored form of a run's field."""
    if value is None or len(value) < limits.compress_bytes_min:
        return value
    if isinstance(value, bytes):
        return pack(value)
    packed = pack(text := value.encode())
    return value if packed is text else packed


def unpack_field(value: bytes | str | None, *, text: bool) -> bytes | str | None:
    """Reverse `pack_field`."""
    if not isinstance(value, bytes) or not value or value[0] != _FIRST:
        return value
    return unpack(value).decode() if text else unpack(value)


def searched_text(value: bytes | str | None, chars_max: int) -> str:
    """The SQL function of this name: the first characters of a value, which may be compressed, after a line break."""
    if value is None:
        return ""
    data = value.encode() if isinstance(value, str) else value
    bytes_max = 4 * chars_max
    if data[:1] == b"x":
        data = zlib.decompressobj().decompress(data, bytes_max)
    return "\n" + data[:bytes_max].decode(errors="ignore")[:chars_max]
