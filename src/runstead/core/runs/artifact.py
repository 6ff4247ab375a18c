"""The list of a run's artifacts: artifacts whose content the server stores, and references to content elsewhere."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

import msgspec
from msgspec.structs import replace

from runstead.core.runs.large_value import is_value

_MEDIA_TYPE: Final = re.compile(
    r"[a-z0-9!#$&^_.+-]{1,127}/[a-z0-9!#$&^_.+-]{1,127}(\s*;\s*[a-z0-9-]+=([\x21\x23-\x3a\x3c-\x7e]+|\"[^\"\\\x00-\x1f\x7f]*\"))*",
    re.IGNORECASE | re.ASCII,
)
ANY_TYPE: Final = "application/octet-stream"
#: The members that name the stored content. Only the server writes them.
KEY_MEMBER: Final = "content_key"
OWNER_MEMBER: Final = "content_owner"


class Content(msgspec.Struct, frozen=True):
    """Stored bytes. `key` identifies them within their run; `size` in bytes, `sha256` in hex."""

    key: str
    size: int
    sha256: str


class Stored(msgspec.Struct, frozen=True, omit_defaults=True):
    """An artifact whose content the server stores. `size` in bytes; `uri` is its path at the server.

    `content_owner` is the uid of the run that stored the content. None: the run that lists it.
    """

    name: str
    media_type: str
    size: int
    sha256: str
    uri: str
    content_key: str
    content_owner: str | None = None


def uri_of(run_id: str, name: str) -> str:
    return f"/runs/{quote(run_id, safe='')}/artifacts/{quote(name, safe='')}"


def stored(run_id: str, name: str, media_type: str, content: Content) -> Stored:
    return Stored(
        name=name,
        media_type=media_type,
        size=content.size,
        sha256=content.sha256,
        uri=uri_of(run_id, name),
        content_key=content.key,
    )


def is_media_type(text: str) -> bool:
    return len(text) <= 255 and _MEDIA_TYPE.fullmatch(text) is not None


def decode_artifacts(artifacts: bytes | None) -> list[dict[str, Any]]:
    """Decode the artifact list of a run's row, in order."""
    decoded: list[dict[str, Any]] = [] if artifacts is None else msgspec.json.decode(artifacts)
    return decoded


def shown(artifacts: bytes) -> bytes:
    """Return the list as readers see it, without the keys of stored contents and without large values."""
    if KEY_MEMBER.encode() not in artifacts:
        return artifacts
    return msgspec.json.encode(
        [
            {member: value for member, value in one.items() if member not in (KEY_MEMBER, OWNER_MEMBER)}
            for one in decode_artifacts(artifacts)
            if not is_hidden(one)
        ]
    )


def is_hidden(one: Mapping[str, Any]) -> bool:
    """Whether a listed artifact is a large value, which stands in the run or its log by its reference."""
    return KEY_MEMBER in one and is_value(one["name"])


def find(artifacts: bytes | None, name: str) -> Stored | None:
    """Find the artifact with this name whose content the server stores."""
    for one in decode_artifacts(artifacts):
        if one.get("name") == name and KEY_MEMBER in one:
            return msgspec.convert(one, Stored)
    return None


def stored_bytes(artifacts: bytes | None) -> int:
    """Return the number of bytes of the listed artifacts whose content the server stores."""
    return sum(one["size"] for one in decode_artifacts(artifacts) if KEY_MEMBER in one)


def shared(artifacts: bytes | None, owner: str, run_id: str) -> list[Stored]:
    """Return the stored artifacts as another run, `run_id`, lists them. `owner`: the uid of the run of this list."""
    found = (msgspec.convert(one, Stored) for one in decode_artifacts(artifacts) if KEY_MEMBER in one)
    return [
        replace(one, uri=uri_of(run_id, one.name), content_owner=one.content_owner or owner) for one in found
    ]


def with_stored(artifacts: bytes | None, new: Stored) -> bytes:
    """Return the list with this artifact. It replaces a stored artifact with the same name."""
    before = decode_artifacts(artifacts)
    places = [place for place, one in enumerate(before) if one["name"] == new.name and KEY_MEMBER in one]
    listed: Sequence[Any] = (
        [*before[: places[0]], new, *before[places[0] + 1 :]] if places else [*before, new]
    )
    return msgspec.json.encode(listed)


def with_notes(artifacts: bytes | None, notes: bytes | None) -> bytes | None:
    """Return the list with the references of a completion.

    A reference with the name of a stored artifact is ignored.
    """
    if notes is None:
        return artifacts
    kept = [one for one in decode_artifacts(artifacts) if KEY_MEMBER in one]
    names = {one["name"] for one in kept}
    others = [
        {member: value for member, value in one.items() if member not in (KEY_MEMBER, OWNER_MEMBER)}
        for one in decode_artifacts(notes)
        if one["name"] not in names
    ]
    return msgspec.json.encode([*kept, *others])
