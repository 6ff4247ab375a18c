"""Conditions on the data of an event of the bus: dotted paths, each with the value that must be there."""

import hashlib
from collections.abc import Mapping
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from runstead.core import limits
from runstead.core.errors import invalid_at

MatchPath = Annotated[
    str,
    Meta(min_length=1, max_length=limits.event_match_path_chars_max, pattern=r"^[^\x00-\x1f\x7f]+$(?!\n)"),
]
Match = Annotated[dict[MatchPath, Any], Meta(max_length=limits.event_match_max)]

_encode: Final = msgspec.json.Encoder(order="sorted").encode
_ABSENT: Final = object()


def check_match(path: str, match: Mapping[str, Any] | None) -> None:
    """INVALID_REQUEST for a value that is too long. `path`: where the request has the match, such as `$.event.match`."""
    for name, value in (match or {}).items():
        if len(msgspec.json.encode(value)) > limits.event_match_value_bytes_max:
            message = f"A value to match has at most {limits.event_match_value_bytes_max} bytes of JSON"
            raise invalid_at(f"{path}.{name}", message)


def matches(match: Mapping[str, Any] | None, data: Any) -> bool:
    """Whether the data has an equal value at each path. No conditions: it matches."""
    return all(digest_at(data, path) == value_digest(value) for path, value in (match or {}).items())


def digest_at(data: Any, path: str) -> bytes | None:
    """Return the digest of the value at a path of the data, None if there is none.

    `order.lines.0.sku`: each part is the name of a member, or the position in an array, from 0.
    """
    found = data
    for part in path.split("."):
        if isinstance(found, dict):
            found = found.get(part, _ABSENT)
        elif isinstance(found, list) and part.isascii() and part.isdecimal() and len(part) < 10:
            found = found[int(part)] if int(part) < len(found) else _ABSENT
        else:
            return None
    return None if found is _ABSENT else value_digest(found)


def value_digest(value: Any) -> bytes:
    """Return a digest that equal JSON values share: 1 and 1.0 are equal, true and 1 are not; members have no order."""
    return hashlib.sha256(_encode(_plain(value))).digest()


def _plain(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return value
