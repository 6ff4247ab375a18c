"""Workers, claimed runs, and the leases on them."""

from datetime import datetime
from typing import Any, ClassVar

import msgspec

from runstead.sdk.models.response import Listing, ResponseModel


class RegisteredWorker(ResponseModel, frozen=True, kw_only=True):
    """A worker of a project."""

    id: str
    project_id: str
    implementation_kind: str
    worker_key: str
    status: str  # active, or offline after two minutes without a call
    display_name: str | None = None
    implementation_display_name: str | None = None
    metadata: Any = None
    version: str | None = None
    last_heartbeat_at: datetime | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None


class WorkerPage(Listing[RegisteredWorker], frozen=True, kw_only=True):
    """One page of the workers of a project."""


class WorkerVersion(ResponseModel, frozen=True, kw_only=True):
    """A version of the code of a project's workers, None for workers without one, with its runs that have not ended.

    A run has the version of the first worker that claimed it. `pinned` counts the runs that need workers of this version.
    """

    version: str | None
    workers_online: int = 0
    runs_pending: int = 0
    runs_running: int = 0
    runs_waiting: int = 0
    pinned: int = 0

    @property
    def drained(self) -> bool:
        """Whether no run needs workers of this version: they may be stopped."""
        return self.pinned == 0


class WorkerHint(ResponseModel, frozen=True, kw_only=True):
    """A hint of a worker's channel.

    `type` is run_available (`targets`), run_cancelled or run_paused (`run_id`, `attempt`), worker_draining (the worker
    was removed) or resync (hints may have been missed). Claims and renewals show the same, later.
    """

    type: str
    run_id: str | None = None
    attempt: int | None = None
    targets: list[str] = msgspec.field(default_factory=list)


class Registration(ResponseModel, frozen=True, kw_only=True):
    """A registered worker. `token` authenticates its heartbeats, claims, leases and sessions, and is shown once.

    The answer to a heartbeat has the same form, without the token.
    """

    SECRETS: ClassVar[frozenset[str]] = frozenset({"token"})

    worker: RegisteredWorker
    token: str | None = None


class Session(ResponseModel, frozen=True, kw_only=True):
    """A worker's own session for a run, which the next attempt can continue."""

    id: str
    run_id: str
    session_key: str
    status: str
    implementation_kind: str | None = None
    worker_id: str | None = None
    metadata: Any = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    ended_at: datetime | None = None


class SessionAnswer(ResponseModel, frozen=True, kw_only=True):
    """The stored session."""

    session: Session


class ClaimedRun(ResponseModel, frozen=True, kw_only=True):
    """A run as its worker receives it. `attempt` and `lease_token` fence the writes of this attempt.

    `compensates` is the id of the run that a compensation undoes.
    `input`, `config` and `request_snapshot` (agent runs: messages, tools, context) are any JSON. `traceparent` and
    `tracestate` are the trace context of the request that created the run.
    """

    SECRETS: ClassVar[frozenset[str]] = frozenset({"lease_token"})

    run_id: str
    status: str
    attempt: int
    kind: str = "agent"
    lease_token: str | None = None
    lease_owner: str | None = None
    lease_expires_at: datetime | None = None
    target: str | None = None
    workflow_id: str | None = None
    timeout_seconds: int | None = None
    input: Any = None
    config: Any = None
    project_id: str | None = None
    conversation_id: str | None = None
    message_id: str | None = None
    agent_id: str | None = None
    request_snapshot: Any = None
    source_target_kind: str | None = None
    source_target_environment_id: str | None = None
    source_target_branch_id: str | None = None
    source_target_release_version: str | None = None
    runtime_target_kind: str | None = None
    runtime_target_environment_id: str | None = None
    runtime_target_branch_id: str | None = None
    latest_event_id: int = 0
    latest_external_event_sequence: int | None = None
    worker_session: Session | None = None
    compensates: str | None = None
    traceparent: str | None = None
    tracestate: str | None = None


class Claim(ResponseModel, frozen=True, kw_only=True):
    """The answer to a claim. `run` is the first of `runs`, or None where no run could be claimed."""

    run: ClaimedRun | None = None
    runs: list[ClaimedRun] = msgspec.field(default_factory=list)


class Lease(ResponseModel, frozen=True, kw_only=True):
    """The answer to a renewal of a lease. `run` is None where the lease is lost."""

    run: ClaimedRun | None = None


class LeasedRun(ResponseModel, frozen=True, kw_only=True):
    """The members of a run that show its worker whether to continue."""

    run_id: str
    status: str
    attempt: int | None = None
    lease_expires_at: datetime | None = None


class Heartbeat(ResponseModel, frozen=True, kw_only=True):
    """The answer to a heartbeat of a run. `run` is None where the lease is lost."""

    run: LeasedRun | None = None

    @property
    def held(self) -> bool:
        """Whether the attempt still has the run. It also has a waiting one."""
        return self.run is not None and self.run.status in {"running", "waiting"}


class Released(ResponseModel, frozen=True, kw_only=True):
    """The answer to a release. `run` is the run after it."""

    run: LeasedRun | None = None


class RemovedWorker(ResponseModel, frozen=True, kw_only=True):
    """The answer to the removal of a worker. `attempts_ended` counts the attempts that ended with it."""

    removed: bool = True
    attempts_ended: int = 0


class RegisteredTarget(ResponseModel, frozen=True, kw_only=True):
    """A target as a worker described it last. `online`: how many active workers serve it."""

    target: str
    online: int
    registered_at: datetime
    description: str | None = None
    input_schema: dict[str, Any] | None = None
    output_schema: dict[str, Any] | None = None
    version: str | None = None
    validate_input: bool = False
    last_seen_at: datetime | None = None


class TargetPage(Listing[RegisteredTarget], frozen=True, kw_only=True):
    """One page of registered targets."""
