"""Reading a request: the body within its limit, JSON into typed values, and one clear sentence where it does not fit."""

import re
from functools import cache
from typing import Any, Final, TypeVar

import msgspec
from starlette.types import Receive, Scope as AsgiScope

from runstead import limits
from runstead.errors import Error

T = TypeVar("T")

_AT: Final = re.compile(r"^(?P<what>.*) - at `(?P<path>[^`]*)`$", re.DOTALL)


class Disconnected(Exception):  # noqa: N818 - the caller went away; nobody is left to be told
    """The caller went away before its body was here."""


async def read_body(scope: AsgiScope, receive: Receive) -> bytes:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit() and int(value) > limits.body_bytes_max:
            raise _too_large()
    message = await receive()
    if message["type"] == "http.disconnect":
        raise Disconnected
    body: bytes = message.get("body", b"")
    if message.get("more_body"):
        parts, size = [body], len(body)
        while message.get("more_body"):
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Disconnected
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > limits.body_bytes_max:
                raise _too_large()
        body = b"".join(parts)
    if len(body) > limits.body_bytes_max:
        raise _too_large()
    return body


def _too_large() -> Error:
    return Error("BODY_TOO_LARGE", f"The body is larger than {limits.body_bytes_max // limits.MIB} MiB")


@cache
def _decoder(shape: type[Any]) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(shape)


def decode_body(body: bytes, shape: type[T]) -> T:
    """The body as `shape`. An empty body is `{}`: published clients send none with the JSON content type."""
    try:
        if not body.isascii():
            body.decode()  # values passed through untouched must be text all the same
        if b"\\u" in body and _LONE.search(body):
            msgspec.json.decode(body)  # refuses lone surrogates, also in values passed through
        key: Any = shape
        decoded: T = _decoder(key).decode(body or b"{}")
    except msgspec.ValidationError as error:
        raise invalid(str(error)) from None
    except UnicodeDecodeError:
        raise _malformed("it is not UTF-8") from None
    except RecursionError:
        raise _malformed("it is nested too deeply") from None
    except msgspec.DecodeError as error:
        raise _malformed(str(error).removeprefix("JSON is malformed: ")) from None
    return decoded


#: An escaped surrogate: rare, so the whole body may be decoded for it.
_LONE: Final = re.compile(rb"\\u[dD][89a-fA-F]")


def _malformed(why: str) -> Error:
    return Error("INVALID_REQUEST", f"The body is not valid JSON: {why}", errors=(("$", why),))


def invalid(told: str) -> Error:
    """From msgspec's sentence (`Expected … - at `$.path``) to ours."""
    match = _AT.match(told)
    what, path = (match["what"], match["path"]) if match else (told, "$")
    what = what.replace("`", "")
    where = "" if path == "$" else f" at {path}"
    return Error("INVALID_REQUEST", f"{what}{where}", errors=((path, what),))


@cache
def _list_members(shape: type[Any]) -> frozenset[str]:
    return frozenset(
        field.encode_name for field in msgspec.structs.fields(shape) if str(field.type).startswith("list[")
    )


def decode_query(pairs: list[tuple[str, str]], shape: type[T]) -> T:
    """Query parameters as `shape`; those of a list type may repeat. Unknown ones are ignored."""
    values: dict[str, Any] = {}
    key: Any = shape
    many = _list_members(key)
    for name, value in pairs:
        if name in many:
            values.setdefault(name, []).append(value)
        else:
            values[name] = value
    try:
        return msgspec.convert(values, shape, strict=False)
    except msgspec.ValidationError as error:
        refused = invalid(str(error))
        raise Error("INVALID_REQUEST", f"Query: {refused.message}", errors=refused.errors) from None
