"""Batches: `/projects/{project}/batches…`."""

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from runstead.commands import batches as commands
from runstead.commands.create import NewRun
from runstead.core import limits
from runstead.core.batches.batch import COUNTED, Batch, BatchStatus, Changed
from runstead.core.errors import Error, invalid_at
from runstead.http.answers import page_of
from runstead.http.arguments import named, scoped
from runstead.http.bounds import text
from runstead.http.conversations import NumberedPage, numbered
from runstead.http.create_bodies import CreateRun, Labels, OwnerBody, TriggerBody, new_run
from runstead.http.flow_bodies import DebounceBody, FlowKey, UniqueBody
from runstead.http.framework import values
from runstead.http.framework.endpoint import Call, Nothing, Reply, Routes
from runstead.http.framework.list_page import fitted
from runstead.http.framework.problems import CHANGE, LOOKUP
from runstead.http.framework.sse import EventStream
from runstead.http.framework.values import JsonObject as Object, Name, RunId, Text, Uuid
from runstead.http.framework.views import JsonObject, Timestamp, view_of
from runstead.http.runs import CancelRun
from runstead.ports.store import Made

routes = Routes("Batches")

_BATCHES = "/projects/{project}/batches"
_BATCH = _BATCHES + "/{batch_id}"


class BatchRun(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A run of the batch, as for `POST /runs`.

    Its owner is the batch's project, so agent runs are not allowed.
    """

    kind: Literal["task", "workflow", "eval"]
    request: msgspec.Raw
    owner: OwnerBody | None = None
    public_id: RunId | None = None
    parent_run_id: RunId | None = None
    trigger: TriggerBody | None = None
    conversation_id: Uuid | None = None
    title: Text | None = None
    labels: Labels | None = None
    concurrency_key: FlowKey | None = None
    unique: UniqueBody | None = None
    debounce: DebounceBody | None = None


_Target = Annotated[
    str, text(limits.target_chars_max, "`task:<id>` or `workflow:<id>`.", pattern=values.WORK_TARGET)
]


class OnComplete(msgspec.Struct, frozen=True, kw_only=True):
    """The run that is created when the batch completes.

    Its `config` also gets `batch`: id, name, status, total and status_counts.
    """

    target: _Target
    config: Object | None = None


class CreateBatch(msgspec.Struct, frozen=True, kw_only=True):
    """Runs to create together: all of them, or none."""

    runs: Annotated[list[BatchRun], Meta(min_length=1, max_length=limits.runs_per_batch_max)]
    name: Name | None = None
    on_complete: OnComplete | None = None


class StatusCounts(msgspec.Struct, frozen=True):
    pending: int
    running: int
    waiting: int
    completed: int
    failed: int
    cancelled: int


class OnCompleteView(msgspec.Struct, frozen=True):
    """The follow-up run of a batch. `run_id` is null until the run is created."""

    target: str
    config: JsonObject
    run_id: str | None


class BatchView(msgspec.Struct, frozen=True):
    """A batch. `total` counts all runs that it ever had.

    The status `completed` means that all runs have ended.
    """

    id: str
    project_id: str
    name: str | None
    status: BatchStatus
    status_counts: StatusCounts
    total: int
    on_complete: OnCompleteView | None
    created_by: str | None
    created_at: Timestamp
    started_at: Timestamp | None
    completed_at: Timestamp | None
    cancel_requested_at: Timestamp | None
    cancel_reason: str | None


def _counts(batch: Batch) -> StatusCounts:
    return StatusCounts(*(getattr(batch, name) for name in COUNTED))


def _on_complete(batch: Batch) -> OnCompleteView | None:
    if batch.on_complete is None:
        return None
    follow = msgspec.json.decode(batch.on_complete, type=commands.FollowUp)
    run_id = batch.follow_up_id if batch.followed_up_at is not None else None
    return OnCompleteView(follow.target, msgspec.Raw(msgspec.json.encode(follow.config)), run_id)


def view(batch: Batch) -> BatchView:
    return view_of(BatchView, batch, status_counts=_counts(batch), on_complete=_on_complete(batch))


def _run(run: BatchRun) -> NewRun:
    if run.owner is not None and run.owner.kind != "project":
        message = "The owner of a run is the project of its batch: leave owner out"
        raise invalid_at("$.owner.kind", "must be project", message)
    owner = OwnerBody("project", run.owner.id if run.owner is not None else "")
    new = new_run(CreateRun(**msgspec.structs.asdict(run) | {"owner": owner}))
    if new.batch_id is not None:
        message = "A run of a batch belongs to that batch: leave batch_id out"
        raise invalid_at("$.request.batch_id", "not allowed", message)
    return new


async def _new(body: CreateBatch) -> commands.NewBatch:
    """Convert the body into a command. The error lists up to `limits.batch_errors_max` refused runs."""
    runs: list[NewRun] = []
    refused: list[Error] = []
    async for index, run in commands.in_pieces(body.runs):
        try:
            runs.append(_run(run))
        except Error as refusal:
            refused.append(commands.at_index(index, refusal))
            if len(refused) == limits.batch_errors_max:
                break
    if refused:
        first = refused[0]
        raise Error(
            first.code, first.message, errors=tuple(error for refusal in refused for error in refusal.errors)
        )
    follow_up = None
    if body.on_complete is not None:
        config = {
            name: msgspec.Raw(msgspec.json.encode(v)) for name, v in (body.on_complete.config or {}).items()
        }
        follow_up = commands.FollowUp(body.on_complete.target, config)
        values.bounded("on_complete.config", msgspec.json.encode(config), limits.batch_config_bytes_max)
    return commands.NewBatch(runs=runs, name=body.name, on_complete=follow_up)


class CreatedBatch(msgspec.Struct, frozen=True, omit_defaults=True):
    """`run_ids` have the order of the request or, for a retry, of the retried runs.

    `duplicate_run_ids` are those of them that existed before, found by `unique` or `debounce`. They do not join the
    batch.
    """

    accepted: bool
    batch: BatchView
    run_ids: list[str]
    duplicate_run_ids: list[str] = []


_LOCATION: Final = "/projects/{batch.project_id}/batches/{batch.id}"


@routes.route(
    "POST",
    _BATCHES,
    body=CreateBatch,
    answer=CreatedBatch,
    status=202,
    errors=(*CHANGE, "RUN_ID_CONFLICT", "PARENT_CANCELLED", "FAMILY_TOO_DEEP", "QUOTA_REACHED"),
    location=_LOCATION,
    new_work=True,
)
async def create(call: Call[CreateBatch, Nothing]) -> Reply:
    """Create up to 1,000 runs together: all of them, or none."""
    async with commands.turn(call.app):
        new = await _new(call.body)
        return await call.idempotent(lambda record: commands.create(*scoped(call), new, record), _created)


def _created(created: Made) -> Reply:
    ids = [written.run.run_id for written in created.runs]
    existing = [written.run.run_id for written in created.runs if written.transition.duplicate]
    return Reply(202, CreatedBatch(True, view(created.batch), ids, existing))


BatchPage = page_of("BatchPage", BatchView)


@routes.route("GET", _BATCHES, query=NumberedPage, answer=BatchPage, errors=LOOKUP)
async def page(call: Call[Nothing, NumberedPage]) -> Reply:
    """List a project's batches, newest first."""
    query = call.query
    found = await commands.page(*scoped(call), query.limit, query.cursor)
    return numbered(query, fitted(found, view))


@routes.route("GET", _BATCH, answer=BatchView, errors=LOOKUP)
async def get(call: Call[Nothing, Nothing]) -> Reply:
    """Get a batch with the number of its runs in each status."""
    return Reply(200, view(await commands.get(*named(call))))


class CancelledBatch(msgspec.Struct, frozen=True):
    """`cancelled` is true if this call cancelled the batch."""

    cancelled: bool
    batch: BatchView


@routes.route("POST", _BATCH + "/cancel", body=CancelRun, answer=CancelledBatch, errors=CHANGE)
async def cancel(call: Call[CancelRun, Nothing]) -> Reply:
    """Cancel a batch: its active runs and their descendants are cancelled."""
    reason = call.body.reason

    def answer(changed: Changed) -> Reply:
        return Reply(200, CancelledBatch(changed.accepted, view(changed.batch)))

    return await call.idempotent(lambda record: commands.cancel(*named(call), reason, record), answer)


class RetryBatch(msgspec.Struct, frozen=True, kw_only=True):
    """With `cancelled`, cancelled runs are retried too.

    Without `name`, the new batch has the name of the first.
    """

    cancelled: bool = False
    name: Name | None = None


@routes.route(
    "POST",
    _BATCH + "/retry",
    body=RetryBatch,
    answer=CreatedBatch,
    status=202,
    errors=(*CHANGE, "BATCH_NOT_RETRIABLE", "PARENT_CANCELLED", "QUOTA_REACHED"),
    location=_LOCATION,
    new_work=True,
)
async def retry(call: Call[RetryBatch, Nothing]) -> Reply:
    """Retry the failed runs of a complete batch as a new batch: all of them, or none."""
    members = msgspec.structs.asdict(call.body)
    return await call.idempotent(
        lambda record: commands.retry(*named(call), **members, idempotency=record), _created
    )


class Progress(msgspec.Struct, frozen=True):
    """The `data` of a frame: the status and the counters of the batch."""

    batch_id: str
    status: BatchStatus
    status_counts: StatusCounts
    total: int
    started_at: Timestamp | None
    completed_at: Timestamp | None


def _cursor(batch: Batch) -> str:
    """The id of a frame.

    A client that reconnects with it does not get the same progress again, except at the end.
    """
    return ".".join(map(str, (batch.status, *batch.counts)))


def frame(batch: Batch) -> bytes:
    progress = view_of(Progress, batch, batch_id=batch.id, status_counts=_counts(batch))
    kind = b"progress" if batch.completed_at is None else b"completed"
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (_cursor(batch).encode(), kind, msgspec.json.encode(progress))


async def _frames(
    batches: AsyncIterator[Batch | None], seen: str | None
) -> AsyncGenerator[bytes | None, None]:
    async for batch in batches:
        if batch is None:
            yield None
        elif batch.completed_at is not None or _cursor(batch) != seen:
            seen = None
            yield frame(batch)


@routes.route(
    "GET",
    _BATCH + "/stream",
    answer=None,
    media_type="text/event-stream",
    errors=(*LOOKUP, "STREAM_LIMIT_REACHED"),
)
async def stream(call: Call[Nothing, Nothing]) -> EventStream:
    """Stream a batch: `progress` now and after changes of its counters, then `completed`."""
    found = await commands.get(*named(call))
    seen = (call.header(b"last-event-id") or "").strip() or None
    frames = _frames(call.app.followers.follow_batch(found), seen)
    slot = call.app.open_streams.slot(call.principal, found.project_id)
    return EventStream(frames, b": progress of a batch\n\n", slot)
