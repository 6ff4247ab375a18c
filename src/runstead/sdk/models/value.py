"""Values of users on the wire: as they are, encoded by a codec, or as a reference to an artifact that holds them.

An input, config, step result, output or payload of a signal is one JSON value. It is sent as it is, or as one of these:

- `{"$encoded": "<base64>"}`: the bytes that a `Codec` made of its JSON text;
- `{"$artifact": {name, size, sha256, media_type}}`: the artifact of the same run that holds the JSON text which would
  be here otherwise (a step result or an output only);
- `{"$literal": value}`: a value that looks like one of these three.
"""

import base64
import hashlib
import re
from typing import Any, Final, Protocol

import msgspec

from runstead.sdk.errors import ValueNotReadable
from runstead.sdk.models.user_types import encode

_ARTIFACT: Final = "$artifact"
_ENCODED: Final = "$encoded"
_LITERAL: Final = "$literal"
#: How the JSON text of a value that could be one of the marks begins.
_MARKED_START: Final = b'{"$'
_PREFIX: Final = "runstead.value."
_NAME: Final = re.compile(r"runstead\.value\.[0-9a-f]{64}")
MEDIA_TYPE: Final = "application/json"


class Codec(Protocol):
    """Encodes the values of runs, for example encrypts them, so that the server stores only what it returns.

    Both methods get and return bytes, and may be called in any thread. `decode(encode(data))` is `data`, also for what
    earlier versions of the codec encoded. Each may raise any exception. A protocol: any class with both methods fits, and
    calling `Codec()` itself raises TypeError.
    """

    def encode(self, data: bytes, /) -> bytes:
        """Return the bytes that are stored for this JSON text."""
        ...

    def decode(self, data: bytes, /) -> bytes:
        """Return the JSON text of the stored bytes."""
        ...


class ValueReference(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The artifact of a run that holds one of its values. `size` in bytes, `sha256` in hex."""

    name: str
    size: int
    sha256: str
    media_type: str

    def check(self, content: bytes) -> bytes:
        """Return the content of the artifact. Raise ValueNotReadable where it is not the value's."""
        if hashlib.sha256(content).hexdigest() != self.sha256:
            raise ValueNotReadable(f"The artifact {self.name} has other bytes than the value")
        return content


def new_reference(content: bytes) -> ValueReference:
    """Return the reference to the artifact with this content."""
    digest = hashlib.sha256(content).hexdigest()
    return ValueReference(name=_PREFIX + digest, size=len(content), sha256=digest, media_type=MEDIA_TYPE)


def reference_of(value: Any) -> ValueReference | None:
    """Return the reference that was sent in place of a value. None: it is the value itself, or an encoded one."""
    if not (isinstance(value, dict) and len(value) == 1 and isinstance(value.get(_ARTIFACT), dict)):
        return None
    try:
        found = msgspec.convert(value[_ARTIFACT], ValueReference)
    except msgspec.ValidationError:
        return None
    fits = found.name == _PREFIX + found.sha256 and _NAME.fullmatch(found.name) is not None
    return found if fits and found.size >= 0 else None


def inline(reference: ValueReference) -> bytes:
    """Return the JSON text that is sent in place of a value: the reference to its artifact."""
    return msgspec.json.encode({_ARTIFACT: reference})


def is_encoded(value: Any) -> bool:
    """Whether a codec made this value."""
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get(_ENCODED), str)


def _is_marked(value: Any) -> bool:
    if is_encoded(value) or reference_of(value) is not None:
        return True
    return isinstance(value, dict) and len(value) == 1 and _LITERAL in value and _is_marked(value[_LITERAL])


def is_plain(text: bytes) -> bool:
    """Whether this JSON text is sent as it is, where there is no codec."""
    return not text.startswith(_MARKED_START) or not _is_marked(msgspec.json.decode(text))


def packed_text(text: bytes, codec: Codec | None) -> bytes:
    """Return the JSON text that is sent for a value with this JSON text."""
    if codec is not None:
        return b'{"$encoded":"%b"}' % base64.b64encode(codec.encode(text))
    return text if is_plain(text) else b'{"$literal":%b}' % text


def packed(value: Any, codec: Codec | None) -> Any:
    """Return what is sent for a value; None for None, which is no value. Raise what the codec raises."""
    if value is None:
        return None
    if codec is not None:
        return msgspec.Raw(packed_text(encode(value), codec))
    return {_LITERAL: value} if _is_marked(value) else value


def unpacked(value: Any, codec: Codec | None) -> Any:
    """Return the value that was sent as this. A reference stays as it is.

    Raise ValueNotReadable where it is encoded, and the codec is missing or cannot decode it.
    """
    if not (isinstance(value, dict) and len(value) == 1):
        return value
    if is_encoded(value):
        return msgspec.json.decode(_decoded(value[_ENCODED], codec))
    return value[_LITERAL] if _LITERAL in value and _is_marked(value) else value


def _decoded(text: str, codec: Codec | None) -> bytes:
    if codec is None:
        raise ValueNotReadable(
            "The value is encoded: pass the codec that encoded it, as App(codec=…) or Client(codec=…)",
            undecoded=True,
        )
    try:
        return codec.decode(base64.b64decode(text, validate=True))
    except Exception as error:
        raise ValueNotReadable(
            f"The codec cannot decode the value: {type(error).__name__}: {error}", undecoded=True
        ) from error
