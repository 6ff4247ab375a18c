"""Bulk jobs: `/projects/{project}/bulk…`."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from runstead.commands import bulk_jobs as commands
from runstead.core.batches.bulk_job import BulkAction, BulkJob, BulkStatus, refusals_of
from runstead.core.runs.run import Kind, RunStatus
from runstead.http.answers import answer_of
from runstead.http.arguments import from_body, named, scoped
from runstead.http.framework.endpoint import Call, Nothing, Reply, Routes
from runstead.http.framework.problems import CHANGE, LOOKUP
from runstead.http.framework.values import Text
from runstead.http.framework.views import Json, Timestamp, view_of
from runstead.http.retries import FromStep
from runstead.http.run_pages import LabelFilters, RunFilters, run_query

routes = Routes("Bulk jobs")

_JOBS = "/projects/{project}/bulk"
_JOB = _JOBS + "/{job_id}"

_SOME = Meta(min_length=1, max_length=100)


def _no_values() -> list[Any]:
    """Return the value of a filter that is left out. As a function, it is no default in the schema, which refuses it."""
    return []


class BulkFilter(RunFilters, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The filters of the list of runs, with the same meaning. An unknown member, an empty array and an empty text are
    refused: they would match every run.
    """

    status: Annotated[list[RunStatus], _SOME] = msgspec.field(default_factory=_no_values)
    kind: Annotated[list[Kind], _SOME] = msgspec.field(default_factory=_no_values)
    target: Annotated[list[str], _SOME] = msgspec.field(default_factory=_no_values)
    label: Annotated[LabelFilters, Meta(min_length=1)] = msgspec.field(default_factory=_no_values)
    q: Annotated[Text, Meta(min_length=1)] | None = None


class CreateBulkJob(msgspec.Struct, frozen=True, kw_only=True):
    """An action on all runs that match the filter now. `from_step` is that of the action retry."""

    action: Literal["cancel", "retry", "delete"]
    filter: BulkFilter
    from_step: FromStep | None = None


class BulkError(msgspec.Struct, frozen=True):
    run_id: str
    code: str
    message: str


class BulkJobView(msgspec.Struct, frozen=True):
    """A bulk job. `done` and `failed` count its handled runs; `failed` ones refused the action, and `errors` has the
    first of their refusals.
    """

    id: str
    project_id: str
    action: BulkAction
    status: BulkStatus
    total: int
    done: int
    failed: int
    filter: Json
    from_step: str | None
    errors: list[BulkError]
    created_by: str | None
    created_at: Timestamp
    updated_at: Timestamp
    ended_at: Timestamp | None


BulkAnswer = answer_of("BulkAnswer", job=BulkJobView)


def _answer(status: int, job: BulkJob) -> Reply:
    errors = [BulkError(one.run_id, one.code, one.message) for one in refusals_of(job)]
    return Reply(status, BulkAnswer(view_of(BulkJobView, job, filter=msgspec.Raw(job.filter), errors=errors)))


@routes.route(
    "POST",
    _JOBS,
    body=CreateBulkJob,
    answer=BulkAnswer,
    status=202,
    errors=(*CHANGE, "BULK_TOO_LARGE", "BULK_LIMIT_REACHED"),
    location="/projects/{job.project_id}/bulk/{job.id}",
    new_work=True,
)
async def create(call: Call[CreateBulkJob, Nothing]) -> Reply:
    """Cancel, retry or delete exactly the runs that match a filter now. The server does it in the background."""
    body = call.body
    given = {name: value for name, value in msgspec.structs.asdict(body.filter).items() if value}
    shown = msgspec.json.encode(given)
    new = from_body(commands.NewBulkJob, body, filter=run_query(body.filter, "$.filter"), shown_filter=shown)
    return await call.idempotent(
        lambda record: commands.create(*scoped(call), new, record), lambda job: _answer(202, job)
    )


@routes.route("GET", _JOB, answer=BulkAnswer, errors=LOOKUP)
async def get(call: Call[Nothing, Nothing]) -> Reply:
    """Get a bulk job with its progress."""
    job = await commands.get(*named(call))
    return _answer(200, job)


@routes.route("POST", _JOB + "/cancel", answer=BulkAnswer, errors=CHANGE)
async def cancel(call: Call[Nothing, Nothing]) -> Reply:
    """Stop a bulk job. Runs that it has handled stay as they are now; a job that has ended does not change."""
    job = await commands.cancel(*named(call))
    return _answer(200, job)
