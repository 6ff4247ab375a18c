"""Lists of runs: `/runs` and `/projects/{project}/runs`."""

import base64
from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from runstead.commands import runs as commands
from runstead.core import limits
from runstead.core.errors import invalid_at
from runstead.core.runs.run import Kind, Run, RunStatus
from runstead.http.answers import page_of
from runstead.http.framework.endpoint import Call, Nothing, Reply, Routes
from runstead.http.framework.list_page import Fields, chosen, fitted, paged
from runstead.http.framework.problems import LOOKUP
from runstead.http.framework.values import Moment, PageLimit, Text, moment_ms
from runstead.http.run_view import RunView, not_read, run_view
from runstead.ports.store import RunQuery

routes = Routes("Lists")


_MANY = Meta(max_length=100)
LabelFilters = Annotated[
    list[Annotated[str, Meta(extra_json_schema={"pattern": r"^[^\x00]*:[^\x00]*$"})]],
    Meta(max_length=limits.labels_max, description="key:value"),
]


class RunFilters(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Filters of runs. A repeated filter matches any of its values."""

    status: Annotated[list[RunStatus], _MANY] = []
    kind: Annotated[list[Kind], _MANY] = []
    target: Annotated[list[str], _MANY] = []
    label: LabelFilters = []
    batch_id: str | None = None
    schedule_id: str | None = None
    parent_run_id: str | None = None
    root_only: bool = False
    created_after: Moment | None = None
    created_before: Moment | None = None
    q: Text | None = None


class ListRuns(RunFilters, frozen=True, kw_only=True):
    """Filters, order and page of a list of runs. A repeated filter matches any of its values."""

    cursor: str | None = None
    limit: PageLimit = limits.page_rows_default
    sort: Literal["created_at", "duration"] = "created_at"
    fields: Fields = []


RunPage = page_of("RunPage", RunView)


_cursor = msgspec.json.Decoder(tuple[int | None, int])


def to_cursor(run: Run, sort: str) -> str:
    value = run.duration_ms if sort == "duration" else None
    return base64.urlsafe_b64encode(msgspec.json.encode((value, run.seq))).decode().rstrip("=")


def from_cursor(cursor: str, sort: str) -> tuple[int | None, int]:
    try:
        before = _cursor.decode(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, msgspec.DecodeError):
        before = (None, -1)
    known = all(0 <= part < 1 << 62 for part in before if part is not None)
    if not known or (before[0] is None) == (sort == "duration"):
        raise invalid_at(
            "$.cursor",
            "unknown cursor",
            "Query: the cursor is not from this list: use page_info.next of the previous page",
        )
    return before


def run_query(filters: RunFilters, path: str = "$") -> RunQuery:
    """Return the query of the newest runs that match. `path` is where a request has its filters."""
    labels = []
    for label in filters.label:
        key, separator, value = label.partition(":")
        if not separator:
            raise invalid_at(f"{path}.label", "no colon", "A filter by label has the form key:value")
        labels.append((key, value))
    return RunQuery(
        project_ids=(),
        statuses=tuple(filters.status),
        kinds=tuple(filters.kind),
        targets=tuple(filters.target),
        batch_id=filters.batch_id,
        schedule_id=filters.schedule_id,
        parent_run_id=filters.parent_run_id,
        root_only=filters.root_only,
        labels=tuple(labels),
        created_after=moment_ms("created_after", filters.created_after),
        created_before=moment_ms("created_before", filters.created_before),
        text=filters.q or None,
    )


def _page_query(query: ListRuns, members: Sequence[str]) -> RunQuery:
    return replace(
        run_query(query),
        sort=query.sort,
        before=None if query.cursor is None else from_cursor(query.cursor, query.sort),
        limit=query.limit,
        omit=not_read(members),
        bytes_max=limits.list_page_bytes_max,
    )


async def _page(call: Call[Nothing, ListRuns], project: str | None) -> Reply:
    query = call.query
    members = chosen(query.fields, RunView)
    found = await commands.page(call.app, call.principal, project, _page_query(query, members))
    page = fitted(found, run_view, members)
    return Reply(200, paged(page, query.cursor, lambda last: to_cursor(last, query.sort)))


@routes.route("GET", "/projects/{project}/runs", query=ListRuns, answer=RunPage, errors=LOOKUP)
async def page_of_project(call: Call[Nothing, ListRuns]) -> Reply:
    """List a project's runs, newest first."""
    return await _page(call, call.path["project"])


@routes.route("GET", "/runs", query=ListRuns, answer=RunPage)
async def page(call: Call[Nothing, ListRuns]) -> Reply:
    """List the runs of all projects of the caller, newest first."""
    return await _page(call, None)
