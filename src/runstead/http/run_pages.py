"""Lists of runs, page by page."""

import base64
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from runstead.commands import runs as commands
from runstead.core import limits
from runstead.core.errors import Error
from runstead.core.runs.run import Kind, Run, RunStatus
from runstead.http.framework.endpoint import Call, Nothing, Reply, Routes
from runstead.http.framework.values import Moment, PageInfo, Text, moment_ms
from runstead.http.run_view import RunView, run_view
from runstead.ports.store import RunQuery

routes = Routes("Lists")


_MANY = Meta(max_length=100)


class RunFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which runs, in which order, which page. Filters that may repeat take any of their values."""

    cursor: str | None = None
    limit: Annotated[int, Meta(ge=1, le=limits.page_rows_max)] = limits.page_rows_default
    status: Annotated[list[RunStatus], _MANY] = []
    kind: Annotated[list[Kind], _MANY] = []
    target: Annotated[list[str], _MANY] = []
    label: Annotated[
        list[Annotated[str, Meta(extra_json_schema={"pattern": ":"})]],
        Meta(max_length=limits.labels_max, description="key:value"),
    ] = []
    batch_id: str | None = None
    schedule_id: str | None = None
    parent_run_id: str | None = None
    root_only: bool = False
    created_after: Moment | None = None
    created_before: Moment | None = None
    q: Text | None = None
    sort: Literal["created_at", "duration"] = "created_at"


class RunPage(msgspec.Struct, frozen=True):
    data: list[RunView]
    page_info: PageInfo


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
        raise Error(
            "INVALID_REQUEST",
            "Query: the cursor is not from this list: use page_info.next of the previous page",
            errors=(("$.cursor", "unknown cursor"),),
        )
    return before


def run_query(query: RunFilter) -> RunQuery:
    labels = []
    for label in query.label:
        key, separator, value = label.partition(":")
        if not separator:
            raise Error(
                "INVALID_REQUEST", "Query: label has the form key:value", errors=(("$.label", "no colon"),)
            )
        labels.append((key, value))
    return RunQuery(
        (),
        tuple(query.status),
        tuple(query.kind),
        tuple(query.target),
        query.batch_id,
        query.schedule_id,
        query.parent_run_id,
        query.root_only,
        tuple(labels),
        moment_ms("created_after", query.created_after),
        moment_ms("created_before", query.created_before),
        query.q or None,
        query.sort,
        None if query.cursor is None else from_cursor(query.cursor, query.sort),
        query.limit + 1,
    )


async def _page(call: Call[Nothing, RunFilter], project: str | None) -> Reply:
    query = call.query
    found = await commands.page(call.app, call.principal, project, run_query(query))
    data = found[: query.limit]
    following = to_cursor(data[-1], query.sort) if len(found) > query.limit else None
    return Reply(200, RunPage([run_view(run) for run in data], PageInfo(self=query.cursor, next=following)))


@routes.route("GET", "/projects/{project}/runs", query=RunFilter, answer=RunPage, errors=("NOT_FOUND",))
async def page_of_project(call: Call[Nothing, RunFilter]) -> Reply:
    """A project's runs, newest first."""
    return await _page(call, call.path["project"])


@routes.route("GET", "/runs", query=RunFilter, answer=RunPage)
async def page(call: Call[Nothing, RunFilter]) -> Reply:
    """The runs of all projects of the caller, newest first."""
    return await _page(call, None)
