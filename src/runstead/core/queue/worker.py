"""External workers: programs that claim runs."""

from typing import Literal

import msgspec

from runstead.core.runs.run import RunStatus

WorkerStatus = Literal["active", "offline"]
SessionStatus = Literal["active", "completed", "failed", "cancelled"]


class Worker(msgspec.Struct, frozen=True):
    """One worker of a project, identified by (project, implementation_kind, worker_key). Times in ms."""

    id: str
    project_id: str
    implementation_kind: str
    worker_key: str
    created_at: int
    updated_at: int
    display_name: str | None = None
    implementation_display_name: str | None = None
    metadata: bytes | None = None  # a JSON object
    last_heartbeat_at: int | None = None  # a claim or a lease renewal counts as a heartbeat
    silent_at: int | None = (
        None  # when the server noticed that heartbeats had stopped; the next heartbeat clears it
    )
    version: str | None = None  # of its code

    @property
    def status(self) -> WorkerStatus:
        return "active" if self.silent_at is None else "offline"


class VersionCount(msgspec.Struct, frozen=True):
    """A version of workers' code in a project: how many workers of it are online, and its runs that have not ended.

    A run has the version of the first worker that claimed it. None: workers without a version. `pinned` counts the runs
    that need workers of this version.
    """

    version: str | None
    workers_online: int = 0
    runs_pending: int = 0
    runs_running: int = 0
    runs_waiting: int = 0
    pinned: int = 0


class TokenHolder(Worker, frozen=True, kw_only=True):
    """A worker as one of its tokens identifies it.

    The token is valid until `expires_at` (ms), while its `issuer` (`str(Issuer)`) has the scope `workers`. None: a
    token of a version that stored no issuers.
    """

    issuer: str | None
    expires_at: int


class Session(msgspec.Struct, frozen=True):
    """A worker's own record of its work on a run, under a key that the worker chose."""

    id: str
    run_id: str
    implementation_kind: str
    worker_id: str
    session_key: str
    status: SessionStatus
    created_at: int
    updated_at: int
    metadata: bytes | None = None
    ended_at: int | None = None


class HeldRun(msgspec.Struct, frozen=True):
    """A leased run without its large values. `owner` is the id of the worker or of the push service that
    holds it.

    A cancelled run stays held until its owner has stopped.
    """

    owner: str
    run_id: str
    title: str | None
    target: str | None
    status: RunStatus
    attempt: int
    attempt_started_at: int | None
    lease_expires_at: int
