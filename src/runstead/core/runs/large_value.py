"""Large values: a step result or an output that an SDK stored as an artifact of its run, and the reference to it.

The artifact holds the JSON text of the value. Its name contains the digest of that text, so its bytes never change.
"""

import re
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from runstead.core.errors import Error

PREFIX: Final = "runstead.value."
_NAME: Final = re.compile(r"runstead\.value\.([0-9a-f]{64})")
_KEY: Final = b'"$artifact"'
_REFERENCE_BYTES_MAX: Final = 1024


class Reference(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The place of a value: an artifact of the same run. `size` in bytes, `sha256` in hex."""

    name: str
    size: Annotated[int, Meta(ge=0)]
    sha256: str
    media_type: str


class _Inline(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    artifact: Reference = msgspec.field(name="$artifact")


class _FinishedStep(msgspec.Struct, frozen=True):
    result: msgspec.Raw = msgspec.Raw()


_decoder: Final = msgspec.json.Decoder(_Inline)
_step_decoder: Final = msgspec.json.Decoder(_FinishedStep)


def is_value(name: str) -> bool:
    """Whether an artifact with this name is a large value, which the list of artifacts does not show."""
    return name.startswith(PREFIX)


def digest_of(name: str) -> str | None:
    """Return the digest (hex) in the name of a value. None for other artifacts.

    Raises ARTIFACT_MISMATCH for a name of a value without a digest.
    """
    if not is_value(name):
        return None
    match = _NAME.fullmatch(name)
    if match is None:
        raise Error(
            "ARTIFACT_MISMATCH",
            f"An artifact whose name begins with {PREFIX} is a value: the sha256 of its bytes (hex) must follow",
        )
    return match[1]


def reference(value: bytes | None) -> Reference | None:
    """Return the reference that stands in place of a value (JSON text). None: it is the value itself.

    An object with the key `$artifact` and other members, or with another name, is a value as any other.
    """
    if value is None or len(value) > _REFERENCE_BYTES_MAX or _KEY not in value:
        return None
    try:
        found = _decoder.decode(value).artifact
    except msgspec.ValidationError:
        return None
    return found if found.name == PREFIX + found.sha256 and _NAME.fullmatch(found.name) else None


def result_reference(payload: bytes) -> Reference | None:
    """Return the reference in place of the result of a step. `payload` is the JSON text of its event."""
    if _KEY not in payload:
        return None
    try:
        result = _step_decoder.decode(payload).result
    except msgspec.DecodeError:
        return None
    return reference(bytes(result))
