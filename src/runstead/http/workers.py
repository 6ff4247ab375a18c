"""External workers: `/agent-workers…`."""

from collections.abc import Sequence
from functools import partial
from typing import Annotated

import msgspec
from msgspec import Meta

from runstead.commands import workers as commands
from runstead.commands.workers import LeasedRun
from runstead.core import limits
from runstead.core.errors import invalid_at
from runstead.core.idempotency import IdempotencyRecord
from runstead.core.queue.target import TargetDefinition
from runstead.core.queue.worker import Worker, WorkerStatus
from runstead.core.runs.run import Kind
from runstead.http.answers import answer_of, page_of
from runstead.http.arguments import from_body, named, scoped
from runstead.http.bounds import between, line, text
from runstead.http.create_bodies import JsonValue
from runstead.http.framework.endpoint import Call, Nothing, Reply, Routes
from runstead.http.framework.list_page import fitted, paged, position_by_name, to_cursor
from runstead.http.framework.problems import CHANGE, LOOKUP
from runstead.http.framework.values import (
    DOTTED_WORD,
    WORD,
    JsonObject,
    LeaseSeconds,
    PageLimit,
    Positive,
    Target,
    Text,
    bounded,
    json_object,
    json_value,
)
from runstead.http.framework.views import JsonObjectOrNull, Timestamp, view_of
from runstead.http.runs import fence
from runstead.http.worker_run_view import WorkerRun, worker_run
from runstead.ports import tracing

routes = Routes("Workers")

_PROJECT = "/agent-workers/projects/{project}"
_WORKER = "/agent-workers/workers/{worker_id}"
_RUN = _WORKER + "/runs/{run_id}"

_Version = Annotated[str, line(limits.worker_version_chars_max)]


class RegisterTarget(msgspec.Struct, frozen=True, kw_only=True):
    """A target that the worker serves. The schemas are JSON Schema 2020-12, at most 64 KiB each.

    `validate_input`: a run whose input does not fit `input_schema` is refused.
    """

    target: Target
    description: Annotated[str, text(limits.target_description_chars_max)] | None = None
    input_schema: JsonObject | None = None
    output_schema: JsonObject | None = None
    version: Annotated[str, text(limits.target_version_chars_max)] | None = None
    validate_input: bool = False


class RegisterWorker(msgspec.Struct, frozen=True, kw_only=True):
    """A worker is identified by its project, `implementation_kind` and `worker_key`.

    `version` is that of its code: a run that is pinned is claimed by workers of one version only. `targets` replace
    those that it registered before; without them, these stay.
    """

    implementation_kind: Annotated[str, line(limits.implementation_kind_chars_max, pattern=WORD)]
    worker_key: Annotated[str, line(limits.worker_key_chars_max, pattern=DOTTED_WORD)]
    implementation_display_name: Text | None = None
    display_name: Text | None = None
    metadata: JsonObject | None = None
    targets: Annotated[list[RegisterTarget], Meta(max_length=limits.worker_targets_max)] | None = None
    version: _Version | None = None


class WorkerView(msgspec.Struct, frozen=True):
    """`status` is offline after two minutes without a request of the worker, until its next request."""

    id: str
    project_id: str
    implementation_kind: str
    worker_key: str
    display_name: str | None
    status: WorkerStatus
    metadata: JsonObjectOrNull
    last_heartbeat_at: Timestamp | None
    created_at: Timestamp
    updated_at: Timestamp
    implementation_display_name: str | None
    version: str | None


view = partial(view_of, WorkerView)
WorkerPage = page_of("WorkerPage", WorkerView)


class Registered(msgspec.Struct, frozen=True):
    """`token` is the worker's credential. It is shown once, and is null in the answer to a heartbeat."""

    worker: WorkerView
    token: str | None


@routes.route(
    "POST", _PROJECT + "/workers", body=RegisterWorker, answer=Registered, status=201, errors=CHANGE
)
async def register(call: Call[RegisterWorker, Nothing]) -> Reply:
    """Register a worker, or find the registered one. The answer holds a token for it."""
    body, token = call.body, commands.new_token()
    new = from_body(
        commands.Registration,
        body,
        metadata=bounded("metadata", json_object(body.metadata), limits.worker_metadata_bytes_max),
        targets=None if body.targets is None else _definitions(body.targets),
    )
    return await call.idempotent(
        lambda record: commands.register(*scoped(call), new, token, record),
        lambda worker: Reply(201, Registered(view(worker), token)),
        secret=token,
    )


def _definitions(targets: Sequence[RegisterTarget]) -> list[TargetDefinition]:
    """Return what the targets are registered with. INVALID_REQUEST for a schema that is too large, and a repeated name."""
    found: dict[str, TargetDefinition] = {}
    for index, each in enumerate(targets):
        if each.target in found:
            path = f"$.targets[{index}].target"
            raise invalid_at(path, "is repeated", f"{path}: {each.target} is repeated")
        schemas = {
            name: bounded(
                f"targets[{index}].{name}", json_object(getattr(each, name)), limits.target_schema_bytes_max
            )
            for name in ("input_schema", "output_schema")
        }
        found[each.target] = from_body(TargetDefinition, each, **schemas)
    return list(found.values())


class WorkerFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Filters and the page of a list of workers."""

    cursor: str | None = None
    limit: PageLimit = limits.page_rows_default
    status: WorkerStatus | None = None


@routes.route("GET", _PROJECT + "/workers", query=WorkerFilter, answer=WorkerPage, errors=LOOKUP)
async def page(call: Call[Nothing, WorkerFilter]) -> Reply:
    """List a project's workers by `implementation_kind` and `worker_key`."""
    query = call.query
    found = await commands.page(
        *scoped(call),
        position_by_name(query.cursor),
        query.limit,
        silent=None if query.status is None else query.status == "offline",
    )
    return Reply(200, paged(fitted(found, view), query.cursor, _following))


def _following(worker: Worker) -> str:
    return to_cursor((worker.implementation_kind, worker.worker_key))


class VersionView(msgspec.Struct, frozen=True):
    """A version of the code of workers, null for workers without one, and its runs that have not ended.

    A run has the version of the first worker that claimed it. `pinned` counts the runs that only workers of this version
    can claim: if it is 0, these workers may be stopped.
    """

    version: str | None
    workers_online: int
    runs_pending: int
    runs_running: int
    runs_waiting: int
    pinned: int


@routes.route("GET", _PROJECT + "/versions", answer=list[VersionView], errors=LOOKUP)
async def versions(call: Call[Nothing, Nothing]) -> Reply:
    """Count workers and runs by the version of the workers' code."""
    found = await commands.versions(*scoped(call))
    return Reply(200, [view_of(VersionView, each) for each in found])


@routes.route("POST", _WORKER + "/heartbeat", answer=Registered, errors=CHANGE)
async def heartbeat(call: Call[Nothing, Nothing]) -> Reply:
    """Report that the worker is alive."""
    return await call.idempotent(
        lambda record: commands.heartbeat(*scoped(call), record),
        lambda worker: Reply(200, Registered(view(worker), None)),
    )


class WorkerRemoved(msgspec.Struct, frozen=True):
    """`attempts_ended` is the number of attempts that the worker had and that ended with it."""

    removed: bool
    attempts_ended: int


@routes.route("DELETE", _WORKER, answer=WorkerRemoved, errors=CHANGE)
async def remove(call: Call[Nothing, Nothing]) -> Reply:
    """Remove a worker: its tokens end, and its attempts end as with a release.

    The tokens end at once on this replica, within two seconds on others. A worker that is still there can register
    again with its key.
    """
    ended = await commands.remove(*scoped(call))
    call.forget_credentials()
    return Reply(200, WorkerRemoved(removed=True, attempts_ended=ended))


class ClaimRuns(msgspec.Struct, frozen=True, kw_only=True):
    """Which runs to claim. Without `kinds` and `targets`: agent runs of the worker's `implementation_kind`.

    `wait_seconds` is the time of the long poll. `version` is that of the code that asks, by default the worker's.
    Runs of `pinned_targets` stay on this version once they are claimed.
    """

    lease_duration_seconds: LeaseSeconds = limits.lease_s_default
    kinds: Annotated[list[Kind], Meta(max_length=4)] | None = None
    targets: Annotated[list[Target], Meta(max_length=100)] | None = None
    wait_seconds: Annotated[int, between(0, limits.claim_wait_s_max)] = 0
    max_runs: Annotated[int, between(1, limits.claim_runs_max)] | None = None
    version: _Version | None = None
    pinned_targets: Annotated[list[Target], Meta(max_length=100)] | None = None


class Claimed(msgspec.Struct, frozen=True):
    """`run` is the first of `runs`, or null."""

    run: WorkerRun | None
    runs: list[WorkerRun]


@routes.route("POST", _WORKER + "/claim", body=ClaimRuns, answer=Claimed, errors=CHANGE)
async def claim(call: Call[ClaimRuns, Nothing]) -> Reply:
    """Claim the next runs. The worker holds each run while it renews the lease."""
    body = call.body

    async def command(idempotency: IdempotencyRecord | None) -> list[LeasedRun]:
        return await commands.claim(
            *scoped(call),
            kinds=body.kinds or (),
            targets=body.targets or (),
            max_runs=body.max_runs or 1,
            lease_s=body.lease_duration_seconds,
            wait_s=body.wait_seconds,
            disconnected=call.is_disconnected,
            version=body.version,
            pinned_targets=frozenset(body.pinned_targets or ()),
            idempotency=idempotency,
        )

    def answer(leased: list[LeasedRun]) -> Reply:
        if tracing.tracer is not None:
            tracing.link(leased_run.run.trace_context for leased_run in leased)
        runs = [worker_run(*leased_run) for leased_run in leased]
        return Reply(200, Claimed(runs[0] if runs else None, runs))

    return await call.idempotent(command, answer)


class RenewLease(msgspec.Struct, frozen=True, kw_only=True):
    lease_duration_seconds: LeaseSeconds = limits.lease_s_default
    attempt: Positive | None = None


class Renewed(msgspec.Struct, frozen=True):
    """`run` is null if the lease is lost: the worker must stop."""

    run: WorkerRun | None


@routes.route(
    "POST",
    _RUN + "/lease",
    body=RenewLease,
    answer=Renewed,
    errors=(*CHANGE, "ATTEMPT_SUPERSEDED", "ATTEMPT_REQUIRED"),
)
async def renew(call: Call[RenewLease, Nothing]) -> Reply:
    """Renew the lease of a run, if the worker still holds it."""
    proof = fence(call, call.body.attempt, call.principal.worker_id)
    held = proof.holds_lease
    lease_s = call.body.lease_duration_seconds
    return await call.idempotent(
        lambda record: commands.renew(*named(call), lease_s, proof, record),
        lambda renewed: Reply(200, Renewed(renewed and worker_run(*renewed, holds_lease=held))),
    )


class ReleaseRun(msgspec.Struct, frozen=True, kw_only=True):
    """`error` is any JSON value.

    The next attempt starts after `retry_after_seconds`, else after an exponential backoff.
    """

    error: JsonValue = msgspec.UNSET
    retry_after_seconds: Annotated[int, between(0, limits.retry_after_s_max)] | None = None
    attempt: Positive | None = None


Released = answer_of("Released", run=WorkerRun)


@routes.route(
    "POST",
    _RUN + "/release",
    body=ReleaseRun,
    answer=Released,
    errors=(*CHANGE, "ATTEMPT_SUPERSEDED", "ATTEMPT_REQUIRED"),
)
async def release(call: Call[ReleaseRun, Nothing]) -> Reply:
    """End the attempt without a completion. Another attempt may follow."""
    body = call.body
    proof = fence(call, body.attempt)
    error = json_value(body.error)
    return await call.idempotent(
        lambda record: commands.release(*named(call), error, body.retry_after_seconds, proof, record),
        lambda written: Reply(200, Released(worker_run(written.run, holds_lease=False))),
    )
