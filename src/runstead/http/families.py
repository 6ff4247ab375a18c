"""A run's family and its attempts."""

from functools import partial
from typing import Annotated, Any, Final

import msgspec

from runstead.commands import runs as commands
from runstead.core import limits
from runstead.core.identity.principal import for_reading
from runstead.core.runs.run import Run
from runstead.core.runs.transition import attempts_of
from runstead.http.answers import list_of
from runstead.http.arguments import on_run
from runstead.http.bounds import between
from runstead.http.framework.endpoint import Call, Nothing, Reply, Routes
from runstead.http.framework.list_page import Fields, chosen, fitted
from runstead.http.framework.values import Count, PageInfo
from runstead.http.framework.views import Json, Timestamp, view_of
from runstead.http.run_view import RunView, not_read, rows_read, run_view
from runstead.http.runs import MISSING, InProject, run_ref
from runstead.ports.store import ListPage, SeqPage

routes = Routes("Families")


#: Large members that these lists show only if `fields` names them.
LEFT_OUT: Final = ("input", "config", "output", "logs")


class RunList(msgspec.Struct, frozen=True):
    """Runs of a family. `omitted` names the members that are null in every run because `fields` does not name them.

    `page_info` is present if more runs follow, or if `cursor` or `limit` was sent.
    """

    data: list[RunView]
    omitted: list[str]
    page_info: PageInfo | msgspec.UnsetType = msgspec.UNSET


class _FamilyQuery(InProject, frozen=True, kw_only=True):
    """`cursor` is `page_info.next` of the previous page."""

    cursor: Count | None = None
    fields: Fields = msgspec.field(default_factory=list)


class ChildrenQuery(_FamilyQuery, frozen=True, kw_only=True):
    limit: Annotated[int, between(1, limits.children_rows_max)] | None = None


class TreeQuery(_FamilyQuery, frozen=True, kw_only=True):
    limit: Annotated[int, between(1, limits.tree_rows_max)] | None = None


def _asked(query: ChildrenQuery | TreeQuery, rows_max: int) -> tuple[tuple[str, ...], SeqPage]:
    """Return the members to show, and the page to read."""
    members = chosen(query.fields, RunView)
    return members, SeqPage(
        limit=rows_read(query.limit or rows_max, members),
        after=query.cursor or 0,
        omit=not_read(members, frozenset(LEFT_OUT)),
        bytes_max=limits.list_page_bytes_max,
    )


def _run_list(query: ChildrenQuery | TreeQuery, found: ListPage[Run], members: tuple[str, ...]) -> Reply:
    page = fitted(found, run_view, members)
    answer: dict[str, Any] = {
        "data": page.data,
        "omitted": [name for name in LEFT_OUT if name not in members],
    }
    if page.last is not None or query.cursor is not None or query.limit is not None:
        this = None if query.cursor is None else str(query.cursor)
        answer["page_info"] = PageInfo(self=this, next=None if page.last is None else str(page.last.seq))
    return Reply(200, answer)


@routes.route("GET", "/runs/{run_id}/children", query=ChildrenQuery, answer=RunList, errors=MISSING)
async def children(call: Call[Nothing, ChildrenQuery]) -> Reply:
    """List the direct children of a run, oldest first, without large values."""
    members, page = _asked(call.query, limits.children_rows_max)
    found = await commands.children(call.app, for_reading(call.principal, "run_reader"), run_ref(call), page)
    return _run_list(call.query, found, members)


@routes.route("GET", "/runs/{run_id}/tree", query=TreeQuery, answer=RunList, errors=MISSING)
async def tree(call: Call[Nothing, TreeQuery]) -> Reply:
    """List the whole family of a run from its root, oldest first, without large values.

    `parent_run_id` gives the tree. A token of one run gets that run and its descendants.
    """
    members, page = _asked(call.query, limits.tree_rows_max)
    found = await commands.tree(call.app, for_reading(call.principal, "run_reader"), run_ref(call), page)
    return _run_list(call.query, found, members)


class AttemptView(msgspec.Struct, frozen=True):
    """An attempt of a run.

    `outcome`: running, completed, failed, cancelled, lease_expired, released, timeout, parked, paused or
    dispatch_failed (the dispatch to the push service failed).
    """

    attempt: int
    lease_owner: str | None
    started_at: Timestamp | None
    ended_at: Timestamp | None
    outcome: str
    error: Json


AttemptList = list_of("AttemptList", AttemptView, "attempts")
_attempt_view = partial(view_of, AttemptView)


class AttemptsQuery(InProject, frozen=True, kw_only=True):
    """`cursor` is `page_info.next` of the previous page."""

    cursor: Count | None = None


@routes.route("GET", "/runs/{run_id}/attempts", query=AttemptsQuery, answer=AttemptList, errors=MISSING)
async def attempts(call: Call[Nothing, AttemptsQuery]) -> Reply:
    """List the attempts of a run and their outcomes, oldest first."""
    cursor = call.query.cursor
    run, ended = await commands.attempts(*on_run(call), cursor or 0)
    found = attempts_of(run, ended.rows, whole=not ended.more)
    if cursor is not None:
        found = [attempt for attempt in found if attempt.attempt > cursor]
    page = fitted(ListPage(found, ended.more), _attempt_view)
    answer: dict[str, Any] = {"data": page.data}
    if page.last is not None or cursor is not None:
        following = None if page.last is None else str(page.last.attempt)
        answer["page_info"] = PageInfo(self=None if cursor is None else str(cursor), next=following)
    return Reply(200, answer)
