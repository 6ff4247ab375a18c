"""Targets that workers have registered: `/projects/{project}/targets`."""

from functools import partial
from typing import Annotated

import msgspec
from msgspec import Meta

from runstead.commands import targets as commands
from runstead.core import limits
from runstead.http.answers import page_of
from runstead.http.arguments import scoped
from runstead.http.framework.endpoint import Call, Nothing, Reply, Routes
from runstead.http.framework.list_page import fitted, paged
from runstead.http.framework.problems import LOOKUP
from runstead.http.framework.values import PageLimit
from runstead.http.framework.views import JsonObjectOrNull, Timestamp, view_of

routes = Routes("Workers")


class TargetsQuery(msgspec.Struct, frozen=True, kw_only=True):
    """`cursor` is `page_info.next`."""

    cursor: Annotated[str, Meta(max_length=limits.name_chars_max)] = ""
    limit: PageLimit = limits.page_rows_default


class TargetView(msgspec.Struct, frozen=True):
    """A target as a worker described it last. `online`: how many workers that serve it are active.

    `validate_input`: a run whose input does not fit `input_schema` is refused. `last_seen_at` is the last request of a
    worker that serves it.
    """

    target: str
    description: str | None
    input_schema: JsonObjectOrNull
    output_schema: JsonObjectOrNull
    version: str | None
    validate_input: bool
    online: int
    last_seen_at: Timestamp | None
    registered_at: Timestamp


TargetPage = page_of("TargetPage", TargetView)
_view = partial(view_of, TargetView)


@routes.route("GET", "/projects/{project}/targets", query=TargetsQuery, answer=TargetPage, errors=LOOKUP)
async def targets(call: Call[Nothing, TargetsQuery]) -> Reply:
    """List the targets that the project's workers have registered, by name."""
    query = call.query
    found = await commands.page(*scoped(call), query.cursor, query.limit)
    return Reply(200, paged(fitted(found, _view), query.cursor or None, lambda last: last.target))
