"""Read requests: bodies within their limits, and JSON and queries as typed values, with clear errors."""

import re
from array import array
from collections.abc import Mapping
from functools import cache
from itertools import accumulate
from typing import Annotated, Any, Final, TypeVar, get_args, get_origin
from urllib.parse import parse_qsl

import msgspec
from starlette.types import Receive

from runstead.core import limits
from runstead.core.errors import Error
from runstead.http.framework.explain import explained, refuse_unknown

T = TypeVar("T")

_NUL: Final = rb"\u0000"
_AT: Final = re.compile(r"^(?P<what>.*) - at `(?P<path>[^`]*)`$", re.DOTALL)


class Disconnected(Exception):  # noqa: N818 - not an error: nothing can be answered
    """The caller disconnected before its body was complete."""


async def read_body(headers: Mapping[bytes, bytes], receive: Receive, bytes_max: int) -> bytes:
    """Read the whole body.

    Raises BODY_TOO_LARGE by its Content-Length before reading, else when it exceeds the limit.
    """
    length = headers.get(b"content-length", b"")
    if length.isdigit() and int(length) > bytes_max:
        raise too_large(bytes_max)
    parts, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        more = message.get("more_body", False)
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > bytes_max:
            raise too_large(bytes_max)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def too_large(bytes_max: int) -> Error:
    most = f"{bytes_max // limits.MIB} MiB" if bytes_max >= limits.MIB else f"{bytes_max // limits.KIB} KiB"
    return Error("BODY_TOO_LARGE", f"The body is larger than {most}")


@cache
def _decoder(shape: type[Any], strict: bool = True) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(shape, strict=strict)


def decode(text: bytes | msgspec.Raw, shape: type[T]) -> T:
    """Decode JSON as `shape`. An integer may be written as 5.0 or 5e0, which JSON Schema allows.

    Raises msgspec.ValidationError, also if a text has the character NUL: PostgreSQL stores none. A raw value and
    the members of an `Any` are JSON of the caller and are stored as JSON, where NUL is allowed.
    """
    key: Any = shape
    try:
        decoded: T = _decoder(key).decode(text)
    except msgspec.ValidationError as error:
        if "got `float`" not in str(error):
            raise
        # Lax decoding accepts such numbers and keeps raw values unchanged. It would accept "5" too, so the
        # text with plain integers is decoded strictly first.
        _decoder(key).decode(msgspec.json.encode(_plain(msgspec.json.decode(text))))
        decoded = _decoder(key, strict=False).decode(text)
    if _NUL in bytes(text):
        _refuse_nul(decoded)
    return decoded


def has_nul(text: bytes) -> bool:
    """Return whether JSON may have the character NUL, which can only be escaped. It may be an escaped backslash too."""
    return _NUL in text


def _refuse_nul(value: Any, path: str = "$") -> None:
    """Raise msgspec.ValidationError if a text of a decoded value has the character NUL."""
    if isinstance(value, str):
        if "\0" in value:
            raise msgspec.ValidationError(f"{NUL_REFUSED} - at `{path}`")
    elif isinstance(value, msgspec.Struct):
        for name, encode_name in _typed_members(type(value)):
            _refuse_nul(getattr(value, name), f"{path}.{encode_name}")
    elif isinstance(value, dict):
        for name, member in value.items():
            _refuse_nul(name, path)
            _refuse_nul(member, f"{path}[...]")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _refuse_nul(item, f"{path}[{index}]")


NUL_REFUSED: Final = "Text must not contain the character NUL"


@cache
def _typed_members(shape: type[Any]) -> tuple[tuple[str, str], ...]:
    """Return (name, name in JSON) of the members that are not JSON of the caller."""
    return tuple((f.name, f.encode_name) for f in msgspec.structs.fields(shape) if not _has_any(f.type))


@cache
def _has_any(kind: Any) -> bool:
    return kind is Any or any(_has_any(part) for part in get_args(kind))


def convert(value: Any, shape: Any, *, nul: bool) -> None:
    """Check a decoded value as `decode` would. Unknown members are allowed. `nul`: whether its text `has_nul`.

    Raises msgspec.ValidationError.
    """
    try:
        converted = msgspec.convert(value, shape)
    except msgspec.ValidationError as error:
        if "got `float`" not in str(error):
            raise
        converted = msgspec.convert(_plain(value), shape)
    if nul:
        _refuse_nul(converted)


def _plain(value: Any) -> Any:
    """Replace integral floats by integers at every depth."""
    if isinstance(value, dict):
        return {name: _plain(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, float) and value.is_integer() and abs(value) <= limits.integer_max:
        return int(value)
    return value


def decode_body(body: bytes, shape: type[T]) -> T:
    """Decode the body as `shape`. An empty body counts as `{}`, since published clients send empty bodies.

    Of a repeated member the last one counts, as in common parsers. Raises INVALID_REQUEST.
    """
    if not body:
        body = b"{}"
    try:
        _check_text(body)
        decoded = decode(body, shape)
    except msgspec.ValidationError as error:
        raise invalid(str(error), shape) from None
    except UnicodeDecodeError:
        raise _malformed("it is not UTF-8") from None
    except RecursionError:
        raise _malformed("it is nested too deeply") from None
    except msgspec.DecodeError as error:
        raise _malformed(str(error).removeprefix("JSON is malformed: ")) from None
    return decoded


def _check_text(body: bytes) -> None:
    """Refuse JSON that other readers of raw values could not parse."""
    if not body.isascii():
        body.decode()
    if body.count(b"[") + body.count(b"{") > limits.json_depth_max and _deep(body):
        raise _malformed(f"it is nested more than {limits.json_depth_max} deep")
    try:
        # Decoding as a type skips raw values and unknown members, with their numbers out of the range of a double. A
        # search for such numbers takes longer than decoding everything, which is 1 to 2 µs for a new run.
        msgspec.json.decode(body)
    except msgspec.ValidationError:
        raise _malformed("a number in it is out of range") from None
    except msgspec.DecodeError:
        replaced = _SURROGATE.sub(rb"\\u0020", body)
        if replaced == body:
            raise
        msgspec.json.decode(replaced)
        raise _malformed("a string in it has an unpaired surrogate, which is not a character") from None


_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")
_STRINGS: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"', re.DOTALL)
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))
_ONE_KIND: Final = bytes.maketrans(b"{}", b"[]")
_STEPS: Final = bytes.maketrans(b"[]", b"\x01\xff")  # 1 and -1 as signed bytes


def _deep(body: bytes) -> bool:
    """Return whether arrays and objects are nested deeper than the limit."""
    brackets = _STRINGS.sub(b"", body).translate(_ONE_KIND, _NO_BRACKETS)
    peeled = 4  # most brackets have few levels: removing pairs is faster than walking them
    for _ in range(peeled):
        brackets = brackets.replace(b"[]", b"")
    depth = max(accumulate(array("b", brackets.translate(_STEPS))), default=0)
    return depth + peeled > limits.json_depth_max


def _malformed(why: str) -> Error:
    return Error("INVALID_REQUEST", f"The body is not valid JSON: {why}", errors=(("$", why),))


def invalid(message: str, shape: Any = None, under: str = "$") -> Error:
    """Convert a message of msgspec (`Expected … - at `$.path``) into INVALID_REQUEST.

    `shape` is the type that was decoded, to name the allowed values. `under` is the path of the decoded value.
    """
    match = _AT.match(message)
    what, path = (match["what"], match["path"]) if match else (message, "$")
    what, path = explained(what, path, shape), under + path.removeprefix("$")
    what = what.replace("`", "")
    where = "" if path == "$" else f" at {path}"
    return Error("INVALID_REQUEST", f"{what}{where}", errors=((path, what),))


@cache
def _members(shape: type[Any]) -> dict[str, tuple[bool, type[Any]]]:
    """Return name → (may be repeated, type of one value).

    The type is int, bool, or str for everything else.
    """
    return {f.encode_name: _parameter(f.type) for f in msgspec.structs.fields(shape)}


def _parameter(kind: Any) -> tuple[bool, type[Any]]:
    if get_origin(kind) is Annotated:
        kind = kind.__origin__
    if get_origin(kind) is list:
        return True, _parameter(get_args(kind)[0])[1]
    for option in get_args(kind):  # `None` means that the parameter is left out
        if option is not type(None):
            return _parameter(option)
    return False, kind if kind in {int, bool} else str


_INTEGER: Final = re.compile("-?[0-9]{1,20}")  # longer numbers are out of every range and slow to parse
_BOOLEANS: Final = {"true": True, "1": True, "false": False, "0": False}


def _value(text: str, kind: type[Any]) -> Any:
    """Parse a value. Malformed text is returned as it is, for the decoder to refuse."""
    if kind is int and _INTEGER.fullmatch(text):
        return int(text)
    return _BOOLEANS.get(text.lower(), text) if kind is bool else text


def parse_query(text: bytes, shape: type[T], *, strict: bool) -> T:
    """Decode the query string of a URL: see `decode_query`."""
    key: Any = shape
    if not text:
        defaults: T = _defaults(key)
        return defaults
    return decode_query(parse_qsl(text.decode("latin-1"), keep_blank_values=True), shape, strict=strict)


@cache
def _defaults(shape: type[Any]) -> Any:
    """Decode an empty query. Queries are immutable, so one value serves all requests."""
    return decode_query([], shape)


def decode_query(pairs: list[tuple[str, str]], shape: type[T], *, strict: bool = False) -> T:
    """Decode query parameters as `shape`. Those of list types may be repeated.

    Unknown ones are ignored, and refused if `strict`.

    Raises INVALID_REQUEST.
    """
    values: dict[str, Any] = {}
    key: Any = shape
    members = _members(key)
    if strict:
        refuse_unknown([name for name, _ in pairs], members)
    for name, text in pairs:
        if name not in members:
            continue
        repeats, kind = members[name]
        if "\0" in text:
            raise Error(
                "INVALID_REQUEST", f"Query: {NUL_REFUSED} at $.{name}", errors=((f"$.{name}", NUL_REFUSED),)
            )
        if repeats:
            values.setdefault(name, []).append(_value(text, kind))
        else:
            values[name] = _value(text, kind)
    try:
        return msgspec.convert(values, shape)
    except msgspec.ValidationError as error:
        refused = invalid(str(error), shape)
        raise Error("INVALID_REQUEST", f"Query: {refused.message}", errors=refused.errors) from None
