"""External workers: `/agent-workers…`."""

import uuid
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from runstead import limits
from runstead.clock import iso, iso_or_none
from runstead.commands import workers as commands
from runstead.http.bodies import JsonObject, LeaseSeconds, Target, json_object, json_value
from runstead.http.create_bodies import JsonValue
from runstead.http.endpoint import Call, Nothing, Reply, Routes
from runstead.http.run_view import Json, agent_details, raw
from runstead.http.runs import fence
from runstead.run import Kind, Run, RunStatus
from runstead.store import Written
from runstead.worker import Session, SessionStatus, Worker

routes = Routes("Workers")

_WRITE = ("NOT_FOUND", "STORE_BUSY", "STORE_UNAVAILABLE")


class RegisterWorker(msgspec.Struct, frozen=True, kw_only=True):
    """(project, implementation_kind, worker_key) names a worker: the same again is the same worker."""

    implementation_kind: Annotated[
        str,
        Meta(min_length=1, max_length=limits.implementation_kind_chars_max, pattern=r"^[a-zA-Z0-9_-]+$"),
    ]
    worker_key: Annotated[
        str, Meta(min_length=1, max_length=limits.worker_key_chars_max, pattern=r"^[a-zA-Z0-9_.:-]+$")
    ]
    implementation_display_name: Annotated[str, Meta(max_length=limits.name_chars_max)] | None = None
    display_name: Annotated[str, Meta(max_length=limits.name_chars_max)] | None = None
    metadata: JsonObject | None = None


class WorkerView(msgspec.Struct, frozen=True):
    id: str
    project_id: str
    implementation_kind: str
    worker_key: str
    display_name: str | None
    status: str
    metadata: Json
    last_heartbeat_at: str | None
    created_at: str
    updated_at: str
    implementation_display_name: str | None


def view(worker: Worker) -> WorkerView:
    return WorkerView(
        worker.id,
        worker.project_id,
        worker.implementation_kind,
        worker.worker_key,
        worker.display_name,
        "active",
        raw(worker.metadata),
        iso_or_none(worker.last_heartbeat_at),
        iso(worker.created_at),
        iso(worker.updated_at),
        worker.implementation_display_name,
    )


class Registered(msgspec.Struct, frozen=True):
    """`token` is the worker's own credential, shown once (null in a heartbeat's answer)."""

    worker: WorkerView
    token: str | None


@routes.route(
    "POST",
    "/agent-workers/projects/{project}/workers",
    body=RegisterWorker,
    answer=Registered,
    status=201,
    errors=_WRITE,
)
async def register(call: Call[RegisterWorker, Nothing]) -> Reply:
    """Register a worker, or find it, and get a token for it."""
    body, token = call.body, commands.new_token()
    new = commands.Registration(
        implementation_kind=body.implementation_kind,
        worker_key=body.worker_key,
        display_name=body.display_name,
        implementation_display_name=body.implementation_display_name,
        metadata=json_object(body.metadata),
    )
    return await call.once(
        lambda seal: commands.register(call.app, call.principal, call.path["project"], new, token, seal),
        lambda worker: Reply(201, Registered(view(worker), token)),
        secret=token,
    )


@routes.route("POST", "/agent-workers/workers/{worker_id}/heartbeat", answer=Registered, errors=_WRITE)
async def heartbeat(call: Call[Nothing, Nothing]) -> Reply:
    """Tell that the worker lives."""
    return await call.once(
        lambda seal: commands.heartbeat(call.app, call.principal, call.path["worker_id"], seal),
        lambda worker: Reply(200, Registered(view(worker), None)),
    )


class WorkerRun(msgspec.Struct, frozen=True):
    """A run as a worker gets it. `lease_token` and `attempt` prove in later writes that it still holds the run."""

    run_id: str
    conversation_id: str | None
    message_id: str | None
    project_id: str
    agent_id: str | None
    status: RunStatus
    request_snapshot: Json
    source_target_kind: str | None
    source_target_environment_id: str | None
    source_target_branch_id: str | None
    source_target_release_version: str | None
    runtime_target_kind: str | None
    runtime_target_environment_id: str | None
    runtime_target_branch_id: str | None
    latest_event_id: int
    latest_external_event_sequence: int
    lease_owner: str | None
    lease_expires_at: str | None
    worker_session: "SessionView | None"
    kind: Kind
    target: str | None
    workflow_id: str | None
    input: Json
    config: Json
    timeout_seconds: int | None
    attempt: int
    lease_token: str | None


def worker_run(run: Run, session: Session | None = None) -> WorkerRun:
    agent = agent_details(run)
    return WorkerRun(
        run.run_id,
        run.conversation_id,
        agent.message_id,
        run.project_id,
        agent.agent_id,
        run.status,
        raw(run.request_snapshot),
        agent.source_target_kind,
        agent.source_target_environment_id,
        agent.source_target_branch_id,
        agent.source_target_release_version,
        run.runtime_target_kind,
        run.runtime_target_environment_id,
        run.runtime_target_branch_id,
        run.latest_event_id,
        run.latest_external_event_sequence,
        run.lease_owner,
        iso_or_none(run.lease_expires_at),
        None if session is None else session_view(session),
        run.kind,
        run.target,
        run.workflow_id,
        raw(run.input),
        raw(run.config),
        run.timeout_seconds,
        run.attempt,
        run.lease_token,
    )


class ClaimRuns(msgspec.Struct, frozen=True, kw_only=True):
    """Without kinds and targets: agent runs of the worker's implementation_kind. `wait_seconds` is a long poll."""

    lease_duration_seconds: LeaseSeconds = limits.lease_s_default
    kinds: Annotated[list[Kind], Meta(max_length=4)] | None = None
    targets: Annotated[list[Target], Meta(max_length=100)] | None = None
    wait_seconds: Annotated[int, Meta(ge=0, le=limits.claim_wait_s_max)] = 0
    max_runs: Annotated[int, Meta(ge=1, le=limits.claim_runs_max)] | None = None


class Claimed(msgspec.Struct, frozen=True):
    """`run` is the first of `runs`, null where there is none."""

    run: WorkerRun | None
    runs: list[WorkerRun]


def _claimed(found: list[Run]) -> Reply:
    runs = [worker_run(run) for run in found]
    return Reply(200, Claimed(runs[0] if runs else None, runs))


@routes.route(
    "POST",
    "/agent-workers/workers/{worker_id}/claim",
    body=ClaimRuns,
    answer=Claimed,
    errors=_WRITE,
)
async def claim(call: Call[ClaimRuns, Nothing]) -> Reply:
    """Take the oldest claimable runs, and hold them for as long as the lease is renewed."""
    body = call.body
    what = commands.Claim(
        lease_s=body.lease_duration_seconds,
        kinds=tuple(body.kinds or ()),
        targets=tuple(body.targets or ()),
        wait_s=body.wait_seconds,
        max_runs=body.max_runs or 1,
    )
    return await call.once(
        lambda seal: commands.claim(call.app, call.principal, call.path["worker_id"], what, call.gone, seal),
        _claimed,
    )


class RenewLease(msgspec.Struct, frozen=True, kw_only=True):
    lease_duration_seconds: LeaseSeconds = limits.lease_s_default
    attempt: Annotated[int, Meta(ge=1)] | None = None


class Renewed(msgspec.Struct, frozen=True):
    """`run` is null where the lease is lost: the worker must stop."""

    run: WorkerRun | None


def _renewed(written: Written) -> Reply:
    return Reply(200, Renewed(worker_run(written.run) if written.transition.accepted else None))


@routes.route(
    "POST",
    "/agent-workers/workers/{worker_id}/runs/{run_id}/lease",
    body=RenewLease,
    answer=Renewed,
    errors=(*_WRITE, "ATTEMPT_SUPERSEDED"),
)
async def renew(call: Call[RenewLease, Nothing]) -> Reply:
    """Renew the lease of a run, or learn that it is lost."""
    proof = fence(call, call.body.attempt)
    lease_s = call.body.lease_duration_seconds
    worker_id, run_id = call.path["worker_id"], call.path["run_id"]
    return await call.once(
        lambda seal: commands.renew(call.app, call.principal, worker_id, run_id, lease_s, proof, seal),
        _renewed,
    )


class ReleaseRun(msgspec.Struct, frozen=True, kw_only=True):
    """Why, as any JSON value, and how long to hold the run back (else an exponential backoff)."""

    error: JsonValue = msgspec.UNSET
    retry_after_seconds: Annotated[int, Meta(ge=0, le=limits.retry_after_s_max)] | None = None
    attempt: Annotated[int, Meta(ge=1)] | None = None


class Released(msgspec.Struct, frozen=True):
    run: WorkerRun


@routes.route(
    "POST",
    "/agent-workers/workers/{worker_id}/runs/{run_id}/release",
    body=ReleaseRun,
    answer=Released,
    errors=(*_WRITE, "ATTEMPT_SUPERSEDED"),
)
async def release(call: Call[ReleaseRun, Nothing]) -> Reply:
    """End the attempt without a completion: another may follow."""
    body, path = call.body, call.path
    proof = fence(call, body.attempt)
    error = json_value(body.error)
    return await call.once(
        lambda seal: commands.release(
            call.app,
            call.principal,
            path["worker_id"],
            path["run_id"],
            error,
            body.retry_after_seconds,
            proof,
            seal,
        ),
        lambda written: Reply(200, Released(worker_run(written.run))),
    )


class PutSession(msgspec.Struct, frozen=True, kw_only=True):
    """What the worker calls its own work on the run."""

    session_key: Annotated[str, Meta(min_length=1, max_length=limits.session_key_chars_max)]
    status: SessionStatus = "active"
    metadata: JsonObject | None = None


class SessionView(msgspec.Struct, frozen=True):
    id: str
    run_id: str
    implementation_kind: str
    worker_id: str
    session_key: str
    status: Literal["active", "completed", "failed", "cancelled"]
    metadata: Json
    created_at: str
    updated_at: str
    ended_at: str | None


class SessionAnswer(msgspec.Struct, frozen=True):
    session: SessionView


def session_view(session: Session) -> SessionView:
    return SessionView(
        session.id,
        session.run_id,
        session.implementation_kind,
        session.worker_id,
        session.session_key,
        session.status,
        raw(session.metadata),
        iso(session.created_at),
        iso(session.updated_at),
        iso_or_none(session.ended_at),
    )


@routes.route(
    "PUT",
    "/agent-workers/workers/{worker_id}/runs/{run_id}/session",
    body=PutSession,
    answer=SessionAnswer,
    errors=(*_WRITE, "ATTEMPT_SUPERSEDED"),
)
async def put_session(call: Call[PutSession, Nothing]) -> Reply:
    """Note the worker's session of a run, so that the next attempt can find it."""
    body, path = call.body, call.path
    session = Session(
        str(uuid.uuid4()), "", "", "", body.session_key, body.status, 0, 0, json_object(body.metadata)
    )
    return await call.once(
        lambda seal: commands.put_session(
            call.app, call.principal, path["worker_id"], path["run_id"], session, seal
        ),
        lambda stored: Reply(200, SessionAnswer(session_view(stored))),
    )
