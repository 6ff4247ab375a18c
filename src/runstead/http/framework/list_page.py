"""Pages of lists: they end by rows or by bytes, and have the members that the caller chooses."""

import base64
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Any, Final, Generic, NamedTuple, TypeVar

import msgspec
from msgspec import Meta

from runstead.core import limits
from runstead.core.errors import Error, invalid_at
from runstead.http.framework.values import NO_CONTROLS, PageInfo
from runstead.ports.store import ListPage

R = TypeVar("R")
P = TypeVar("P", tuple[int, str], tuple[str, str])

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
        raise invalid_at(
            "$.fields",
            "unknown member",
            f"Query: fields names {unknown[0][:64]!r}, which is not a member. The members are {', '.join(known)}",
        )
    return tuple(name for name in known if name in names)


class Fitted(NamedTuple, Generic[R]):
    """`data` is the JSON of the rows of a page, `last` the row before the next page, None on the last page."""

    data: list[msgspec.Raw]
    last: R | None


def fitted(
    page: ListPage[R], view: Callable[[R], Any], members: Sequence[str] = (), around: int = limits.KIB
) -> Fitted[R]:
    """Build the page of the first rows that fit in `limits.list_page_bytes_max` of JSON, at least one.

    With `members`, only these members of the view are shown. `around`: the bytes of what is around the rows.
    """
    data: list[msgspec.Raw] = []
    size = around
    for row in page.rows:
        shown = view(row)
        text = _encode(_only(shown, members) if members else shown)
        size += len(text) + 1
        if data and size > limits.list_page_bytes_max:
            return Fitted(data, page.rows[len(data) - 1])
        data.append(msgspec.Raw(text))
    return Fitted(data, page.rows[-1] if page.more else None)


def _only(shown: Any, members: Sequence[str]) -> dict[str, Any]:
    found = {name: getattr(shown, name) for name in members}
    return {name: value for name, value in found.items() if value is not msgspec.UNSET}


class CursorQuery(msgspec.Struct, frozen=True, kw_only=True):
    """`cursor` is `page_info.next` of the previous page."""

    cursor: str | None = None


_Text = Annotated[str, Meta(max_length=limits.name_chars_max, pattern=NO_CONTROLS)]
_Time = Annotated[int, Meta(ge=0, le=limits.integer_max)]
_position_by_time: Final = msgspec.json.Decoder(tuple[_Time, _Text])
_position_by_name: Final = msgspec.json.Decoder(tuple[_Text, _Text])


def position_by_time(cursor: str | None) -> tuple[int, str] | None:
    """Return the position in a list that is ordered by (time, id). Raises INVALID_REQUEST."""
    return _position(cursor, _position_by_time)


def position_by_name(cursor: str | None) -> tuple[str, str] | None:
    """Return the position in a list that is ordered by two names. Raises INVALID_REQUEST."""
    return _position(cursor, _position_by_name)


def _position(cursor: str | None, decoder: msgspec.json.Decoder[P]) -> P | None:
    if cursor is None:
        return None
    try:
        return decoder.decode(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, msgspec.DecodeError):
        raise _unknown_cursor() from None


def position_by_seq(cursor: str | None) -> int | None:
    """Return the position in a list that is ordered by a number from 1 on. Raises INVALID_REQUEST."""
    if cursor is not None and not re.fullmatch("[1-9][0-9]{0,17}", cursor):
        raise _unknown_cursor()
    return None if cursor is None else int(cursor)


def _unknown_cursor() -> Error:
    return invalid_at(
        "$.cursor",
        "unknown cursor",
        "Query: the cursor is not from this list: use page_info.next of the previous page",
    )


def to_cursor(position: P) -> str:
    return base64.urlsafe_b64encode(_encode(position)).decode().rstrip("=")


def rows_after(rows: Iterable[R], position: Callable[[R], P], after: P | None) -> ListPage[R]:
    """Return the rest of a list that was read as a whole, because what is stored of it is bounded."""
    return ListPage([row for row in rows if after is None or position(row) > after], more=False)


def paged(shown: Fitted[R], cursor: str | int | None, following: Callable[[R], str | int]) -> dict[str, Any]:
    """Return the answer of a list that always has `page_info`. `following`: a row → the cursor after it."""
    last = None if shown.last is None else str(following(shown.last))
    return {
        "data": shown.data,
        "page_info": PageInfo(self=None if cursor is None else str(cursor), next=last),
    }


def listed(
    page: ListPage[R],
    view: Callable[[R], Any],
    position: Callable[[R], P],
    cursor: str | None,
    member: str = "data",
) -> dict[str, Any]:
    """Return the answer of a list that has `page_info` only if more rows follow, or if a cursor was sent."""
    shown = fitted(page, view, around=limits.list_cursors_bytes)
    answer: dict[str, Any] = {member: shown.data}
    if shown.last is not None or cursor is not None:
        following = None if shown.last is None else to_cursor(position(shown.last))
        answer["page_info"] = PageInfo(self=cursor, next=following)
    return answer
