"""Views: what answers show of records, mapped by the names of members."""

from collections.abc import Callable
from functools import cache
from typing import Annotated, Any, TypeVar, get_args, get_origin

import msgspec
from msgspec import Meta

from runstead.core.clock import iso_or_none

V = TypeVar("V")

Timestamp = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
"""ISO-8601 UTC with milliseconds and `Z`."""
Json = msgspec.Raw
"""Any JSON value, passed through."""
JsonObject = Annotated[msgspec.Raw, Meta(extra_json_schema={"type": "object"})]
JsonObjectOrNull = Annotated[msgspec.Raw, Meta(extra_json_schema={"type": ["object", "null"]})]

NULL = msgspec.Raw(b"null")


def raw(value: bytes | None) -> msgspec.Raw:
    return NULL if value is None else msgspec.Raw(value)


def view_of(view: Callable[..., V], record: object, **members: object) -> V:
    """Build a view with these members; the others are the record's fields of the same names.

    A `Timestamp` is made from ms, JSON from bytes, and a list from a tuple. Raises AttributeError if the record has no
    such field. Views of the hot path (`run_view`, `worker_run`) name each member instead, which takes half the time.
    """
    for name, convert in _conversions(view):
        if name not in members:
            value = getattr(record, name)
            members[name] = value if convert is None else convert(value)
    return view(**members)


@cache
def _conversions(view: Any) -> tuple[tuple[str, Callable[[Any], Any] | None], ...]:
    return tuple((field.name, _conversion(field.type)) for field in msgspec.structs.fields(view))


def _conversion(kind: Any) -> Callable[[Any], Any] | None:
    if get_origin(kind) is list:
        return list
    kinds = (kind, *get_args(kind))
    if Timestamp in kinds:
        return iso_or_none
    return raw if msgspec.Raw in kinds else None
