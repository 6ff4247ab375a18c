"""What a run tells of its artifacts: those that are kept here, and notes of others that are kept elsewhere."""

import re
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import quote

import msgspec

_MEDIA_TYPE: Final = re.compile(
    r"[a-z0-9!#$&^_.+-]{1,127}/[a-z0-9!#$&^_.+-]{1,127}(\s*;\s*[a-z0-9-]+=([\x21\x23-\x3a\x3c-\x7e]+|\"[^\"\\\x00-\x1f\x7f]*\"))*",
    re.IGNORECASE | re.ASCII,
)
ANY_TYPE: Final = "application/octet-stream"
#: The member that says where a content is kept. Only the server writes it.
KEY_MEMBER: Final = "content_key"


class Content(msgspec.Struct, frozen=True):
    """Bytes that are kept. `key` names them among those of their run; `size` in bytes, `sha256` in hex."""

    key: str
    size: int
    sha256: str


class Stored(msgspec.Struct, frozen=True):
    """An artifact whose content is kept here. `size` in bytes; `uri` is where it can be read, below the server's URL."""

    name: str
    media_type: str
    size: int
    sha256: str
    uri: str
    content_key: str


def stored(run_id: str, name: str, media_type: str, content: Content) -> Stored:
    uri = f"/runs/{quote(run_id, safe='')}/artifacts/{quote(name, safe='')}"
    return Stored(
        name=name,
        media_type=media_type,
        size=content.size,
        sha256=content.sha256,
        uri=uri,
        content_key=content.key,
    )


def is_media_type(told: str) -> bool:
    return len(told) <= 255 and _MEDIA_TYPE.fullmatch(told) is not None


def told(artifacts: bytes | None) -> list[dict[str, Any]]:
    """Of a run's row, in order."""
    found: list[dict[str, Any]] = [] if artifacts is None else msgspec.json.decode(artifacts)
    return found


def find(artifacts: bytes | None, name: str) -> Stored | None:
    """The one of this name that is kept here."""
    for one in told(artifacts):
        if one.get("name") == name and KEY_MEMBER in one:
            return msgspec.convert(one, Stored)
    return None


def with_stored(artifacts: bytes | None, new: Stored) -> bytes:
    """The list with this one, in place of any other of its name that is kept here."""
    before = told(artifacts)
    places = [place for place, one in enumerate(before) if one["name"] == new.name and KEY_MEMBER in one]
    listed: Sequence[Any] = (
        [*before[: places[0]], new, *before[places[0] + 1 :]] if places else [*before, new]
    )
    return msgspec.json.encode(listed)


def with_notes(artifacts: bytes | None, notes: bytes | None) -> bytes | None:
    """The list with what a completion tells. What is kept here stays; a note of such a name adds nothing."""
    if notes is None:
        return artifacts
    kept = [one for one in told(artifacts) if KEY_MEMBER in one]
    names = {one["name"] for one in kept}
    others = [
        {member: value for member, value in one.items() if member != KEY_MEMBER}
        for one in told(notes)
        if one["name"] not in names
    ]
    return msgspec.json.encode([*kept, *others])
