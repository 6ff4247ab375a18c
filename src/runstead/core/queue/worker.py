"""External workers: programs that claim runs."""

from typing import Literal

import msgspec

from runstead.core.runs.run import RunStatus

WorkerStatus = Literal["active", "offline"]
SessionStatus = Literal["active", "completed", "failed", "cancelled"]


class Worker(msgspec.Struct, frozen=True):
    """One worker of a project. (project, implementation_kind, worker_key) names it. Times in ms."""

    id: str
    project_id: str
    implementation_kind: str
    worker_key: str
    created_at: int
    updated_at: int
    display_name: str | None = None
    implementation_display_name: str | None = None
    metadata: bytes | None = None  # a JSON object
    last_heartbeat_at: int | None = None  # or another sign of life, such as a claim
    silent_at: int | None = None  # when it was noticed that there was none for long; until there is one again

    @property
    def status(self) -> WorkerStatus:
        return "active" if self.silent_at is None else "offline"


class Session(msgspec.Struct, frozen=True):
    """What a worker calls its own work on a run, so that it can find it again."""

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
    """A run that somebody has a lease on, in short. `owner` is the id of the worker, or of the push service that it was
    sent to. A cancelled one is held until its owner has stopped.
    """

    owner: str
    run_id: str
    title: str | None
    target: str | None
    status: RunStatus
    attempt: int
    attempt_started_at: int | None
    lease_expires_at: int
