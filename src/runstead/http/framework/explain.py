"""Words for what the decoder refuses: the allowed values of an enum, and what a pattern asks for."""

import ast
import re
from collections.abc import Iterable
from difflib import get_close_matches
from enum import EnumType
from typing import Annotated, Any, Final, Literal, get_args, get_origin

import msgspec

from runstead.core.errors import invalid_at
from runstead.http.framework.values import PATTERNS

_REGEX: Final = re.compile(r"Expected `str` matching regex (?P<pattern>'.*'|\".*\")", re.DOTALL)
_STEP: Final = re.compile(r"\.([^.\[\]]+)|(\[)")


def explained(what: str, path: str, shape: Any) -> str:
    """Return a message of msgspec about the value at `path` of a `shape`, with what would be valid."""
    if (match := _REGEX.search(what)) is not None:
        pattern = ast.literal_eval(match["pattern"])
        return (
            f"Expected {PATTERNS[pattern]}"
            if pattern in PATTERNS
            else "The value has not the documented form"
        )
    if what.startswith("Invalid enum value") and (values := _values(_at(shape, path))):
        return f"{what}: it is one of {', '.join(values)}"
    return what


def refuse_unknown(names: Iterable[str], known: Iterable[str]) -> None:
    """Refuse query parameters that a list does not have, with the nearest name. Raises INVALID_REQUEST."""
    known = sorted(known)
    for name in names:
        if name not in known:
            near = get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]}?" if near else f"the parameters are {', '.join(known)}"
            raise invalid_at(
                f"$.{name[:64]}", "unknown parameter", f"Query: there is no parameter {name[:64]!r}: {hint}"
            )


def _options(kind: Any) -> list[Any]:
    """Return the members of a union, without Annotated. Another type is its only member."""
    if get_origin(kind) is Annotated:
        return _options(kind.__origin__)
    if get_origin(kind) in {list, dict, tuple, Literal} or not get_args(kind):
        return [kind]
    return [one for part in get_args(kind) for one in _options(part)]


def _at(shape: Any, path: str) -> list[Any]:
    """Return the types that the value at `$.a.b[0]` may have."""
    found = _options(shape)
    for member, _ in _STEP.findall(path):
        following: list[Any] = []
        for kind in found:
            if member and isinstance(kind, type) and issubclass(kind, msgspec.Struct):
                fields = msgspec.structs.fields(kind)
                following += [one for f in fields if f.encode_name == member for one in _options(f.type)]
            elif not member and get_origin(kind) in {list, dict}:
                following += _options(get_args(kind)[-1])
        found = following
    return found


def _values(kinds: Iterable[Any]) -> list[str]:
    values: list[str] = []
    for kind in kinds:
        if get_origin(kind) is Literal:
            values += map(str, get_args(kind))
        elif isinstance(kind, EnumType):
            values += [str(kind[name].value) for name in kind.__members__]
    return values
