"""Pages of lists: they end by rows or by bytes, and have the members that the caller chooses."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final, Generic, NamedTuple, TypeVar

import msgspec
from msgspec import Meta

from runstead.core import limits
from runstead.core.errors import Error
from runstead.ports.store import ListPage

R = TypeVar("R")

_encode: Final = msgspec.json.Encoder().encode

Fields = Annotated[
    list[str],
    Meta(
        max_length=100,
        description=(
            "The members of each object in `data`, separated by commas; the parameter may be repeated."
            " Other members are left out. Without it, objects have all members."
        ),
    ),
]


def chosen(fields: Sequence[str], view: type[msgspec.Struct]) -> tuple[str, ...]:
    """Return the members of the view that `fields` names, none for all. Raises INVALID_REQUEST."""
    known = view.__struct_fields__
    names = {name.strip() for text in fields for name in text.split(",")} - {""}
    unknown = sorted(names - set(known))
    if unknown:
        raise Error(
            "INVALID_REQUEST",
            f"Query: fields names {unknown[0][:64]!r}, which is not a member. The members are {', '.join(known)}",
            errors=(("$.fields", "unknown member"),),
        )
    return tuple(name for name in known if name in names)


class Fitted(NamedTuple, Generic[R]):
    """`data` is the JSON of the rows of a page, `last` the row before the next page, None on the last page."""

    data: list[msgspec.Raw]
    last: R | None


def fitted(page: ListPage[R], view: Callable[[R], Any], members: Sequence[str] = ()) -> Fitted[R]:
    """Build the page of the first rows that fit in `limits.list_page_bytes_max` of JSON, at least one.

    With `members`, only these members of the view are shown.
    """
    data: list[msgspec.Raw] = []
    size = limits.KIB  # for what is around the rows
    for row in page.rows:
        shown = view(row)
        text = _encode({name: getattr(shown, name) for name in members} if members else shown)
        size += len(text) + 1
        if data and size > limits.list_page_bytes_max:
            return Fitted(data, page.rows[len(data) - 1])
        data.append(msgspec.Raw(text))
    return Fitted(data, page.rows[-1] if page.more else None)
