"""A run, the central record. Times are integer milliseconds since 1970 UTC."""

from enum import StrEnum
from operator import attrgetter
from typing import Final, Literal

import msgspec

Kind = Literal["agent", "workflow", "task", "eval"]
OwnerKind = Literal["conversation", "project"]
WaitingReason = Literal["tool", "approval", "event", "input"]
StoredReason = WaitingReason | Literal["pause"]  # a pause is shown as `event`
RuntimeTargetKind = Literal["main_branch", "environment", "preview_branch"]
TriggerKind = Literal["manual", "schedule", "webhook", "api"]
TerminalStatus = Literal["completed", "failed", "cancelled"]


class RunStatus(StrEnum):
    """The six states. Three are terminal and never change again."""

    PENDING = "pending"
    """Stored, with no work under way. Entered at creation, and when an attempt ends without a completion and
    retries are left. Left by a claim or a start (running), by a completion or a cancel.
    """

    RUNNING = "running"
    """In progress: a worker holds the lease, or a client drives the run without a lease. Entered by a claim,
    a start or a resume. Left by a wait, by the end of the attempt (pending or failed), by a completion or a
    cancel.
    """

    WAITING = "waiting"
    """Waiting for a tool result, an approval, an event or an input; or paused. Entered by a wait or a pause.
    Left by a resume (running), by the expiry of the wait (failed), by a completion or a cancel.
    """

    COMPLETED = "completed"
    """Ended successfully. Entered by the first completion with this status. Never left."""

    FAILED = "failed"
    """Ended with an error.

    Entered by a completion, or by the server when no retries or no time is left. Never left.
    """

    CANCELLED = "cancelled"
    """Cancelled. Entered by a cancel of the run or of an ancestor, or by a completion. Never left."""


TERMINAL: Final = frozenset({RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED})
KEYED: Final = 1_000
"""The stored priority of a run with a concurrency key is lower by this. So in the order of the queue all of them stand
behind the runs without a key, whose claims never read them.
"""
PINNED_QUEUE: Final = 253_402_300_799_000
"""`available_at` of a run that only workers of its version may claim: the end of the year 9999, which no claim reaches."""
BLOCKED: Final = "blocked: "
"""The start of `waiting_tool_name` while a run waits for code that fits its log; a sentence follows."""


class RunError(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why a run failed or was cancelled. `detail` is any JSON."""

    message: str
    code: str | None = None
    detail: msgspec.Raw | None = None


class AgentDetails(msgspec.Struct, frozen=True, omit_defaults=True):
    """The members that only agent runs have. One JSON column: no query reads its members."""

    mode: str = "agent"
    agent_id: str | None = None
    message_id: str | None = None
    requested_by_user_id: str | None = None
    source_target_kind: str | None = None
    source_target_environment_id: str | None = None
    source_target_branch_id: str | None = None
    source_target_release_version: str | None = None
    parent_conversation_id: str | None = None
    spawned_from_message_id: str | None = None
    spawned_from_tool_call_id: str | None = None
    input_anchor_message_id: str | None = None


class Run(msgspec.Struct, frozen=True, gc=False):
    """One run as a row of the store. Members with the names of the public run object have the same meaning.

    JSON values (`metadata`, `input`, `config`, `output`, `error`, `artifacts`, `labels`, `agent`,
    `request_snapshot`, `progress`, `retry_from`, `open_approvals`,
    `waiting_events`) are JSON text and are not changed; None is JSON null. Engines store the fields as
    columns in this order.
    """

    # Identity. `uid` is internal; `run_id` is the public id, unique within its project.
    uid: str
    project_id: str
    run_id: str
    kind: Kind
    status: RunStatus
    owner_kind: OwnerKind
    owner_id: str
    root_run_id: str
    created_at: int
    updated_at: int
    # The order of creation in the store, and the internal key (0: not stored yet).
    seq: int = 0
    target: str | None = None
    # Family. `path` holds the seq of every ancestor, root first: "/12/40/". A "~" stands before a compensation, as in
    # "/12/40/~/": a cancel of the ancestors before it reaches neither the compensation nor its descendants.
    parent_seq: int | None = None
    parent_run_id: str | None = None
    root_seq: int | None = None
    path: str = "/"
    descendants_total: int = 0
    descendants_active: int = 0
    retry_of: str | None = None
    # Origin, and where it runs
    workflow_id: str | None = None
    schedule_id: str | None = None
    batch_id: str | None = None
    runtime_target_kind: RuntimeTargetKind | None = None
    runtime_target_environment_id: str | None = None
    runtime_target_branch_id: str | None = None
    start_mode: str | None = None
    trigger_kind: TriggerKind | None = None
    trigger_id: str | None = None
    created_by: str | None = None
    trace_context: str | None = None  # see core.trace_context
    title: str | None = None
    conversation_id: str | None = None
    implementation_kind: str | None = None
    worker_key: str | None = None
    # The push service that receives it (agent runs that no worker claims), and failed dispatches since the
    # last success
    push_service_id: str | None = None
    push_failures: int = 0
    # Times and bounds
    started_at: int | None = None
    completed_at: int | None = None
    duration_ms: int | None = None
    timeout_seconds: int | None = None
    backoff_limit: int | None = None
    exit_code: int | None = None
    # The queue: when it may be claimed or pushed, None while it may not. The highest priority comes first.
    available_at: int | None = None
    priority: int = 0
    # The next deadline, None if there is none (see transitions.due_at).
    due_at: int | None = None
    # The attempt, the lease that fences it, and how many attempts ended without a completion.
    attempt: int = 0
    attempts_lost: int = 0
    attempt_started_at: int | None = None
    lease_owner: str | None = None
    lease_token: str | None = None
    lease_ms: int | None = None
    lease_expires_at: int | None = None
    last_heartbeat_at: int | None = None
    # The wait
    waiting_reason: StoredReason | None = None
    waiting_tool_call_id: str | None = None
    waiting_tool_name: str | None = None
    wait_expires_at: int | None = None
    resume_at: int | None = None
    waiting_input_id: str | None = None  # the open input request that it waits for
    waiting_run_id: str | None = None  # the child whose end it waits for
    paused_available_at: int | None = None  # `available_at` before a pause, restored by the unpause
    # The planned time of its schedule, and the first of the missed times that it also covers
    scheduled_at: int | None = None
    missed_since: int | None = None
    # Set while the parent waits for this run: the earliest time for the next try to resume the parent.
    awaited_at: int | None = None
    # The cancel
    cancel_requested_at: int | None = None
    cancel_reason: str | None = None
    cancel_stopped_at: int | None = None
    # The log
    latest_event_id: int = 0
    latest_external_event_sequence: int = 0
    # Bytes of its events, and of its stored artifacts; None: no event, no artifact
    event_bytes: int | None = None
    artifact_bytes: int | None = None
    # Grows by one with every write: the guard of every update.
    version: int = 1
    # Flow control, see core.runs.flow: the keys of the run, until when a debounce may delay it, and how many later
    # requests it took over
    concurrency_key: str | None = None
    unique_key: str | None = None
    debounce_key: str | None = None
    debounce_until: int | None = None
    debounced: int | None = None
    # The version of the first worker with a version that claimed it, and whether only workers of that version claim it
    # again: then it is in the queue of that version from `pinned_available_at` on, and `available_at` is `PINNED_QUEUE`.
    worker_version: str | None = None
    pinned: bool | None = None  # None: false
    pinned_available_at: int | None = None
    # The number of registered compensations, None: none. Cleared when it ends (see core.runs.compensation).
    compensations: int | None = None
    # Values, largest last
    # Of the wait: call ids, if more than the one that it waits for are open
    open_approvals: bytes | None = None
    waiting_events: bytes | None = None  # of the wait: the events that resume it, with their call ids
    retry_from: bytes | None = None  # the step that it goes on from, see core.runs.retry_from
    progress: bytes | None = None
    error: bytes | None = None
    labels: bytes | None = None
    agent: bytes | None = None
    metadata: bytes | None = None
    artifacts: bytes | None = None
    config: bytes | None = None
    input: bytes | None = None
    output: bytes | None = None
    logs: str | None = None
    request_snapshot: bytes | None = None

    @property
    def ancestor_seqs(self) -> tuple[int, ...]:
        """The seqs of its ancestors, root first."""
        return seqs_of(self.path)

    @property
    def cancelling_seqs(self) -> tuple[int, ...]:
        """The seqs of the ancestors whose cancel reaches this run."""
        return seqs_of(self.path.rpartition("~")[2])

    @property
    def compensates(self) -> str | None:
        """The id of the run that this one compensates, None if it is no compensation."""
        return self.parent_run_id if self.path.endswith("~/") else None

    @property
    def compensating(self) -> bool:
        """Whether it is a compensation, or a descendant of one."""
        return "~" in self.path

    @property
    def held(self) -> bool:
        """Whether it is a compensation that waits for the end of the one before it."""
        return self.path.endswith("~/") and self.status is RunStatus.PENDING and self.available_at is None

    @property
    def queued(self) -> bool:
        """Whether the server hands the run out, to a worker or to a push service."""
        return (
            self.kind != "agent" or self.implementation_kind is not None or self.push_service_id is not None
        )

    @property
    def pinned_to(self) -> str | None:
        """The version whose workers alone may claim the run. None: any worker."""
        return self.worker_version if self.pinned else None

    @property
    def claimable_at(self) -> int | None:
        """When it may be claimed or pushed, None while it may not."""
        return self.available_at if self.pinned_available_at is None else self.pinned_available_at

    @property
    def occupies(self) -> bool:
        """Whether the run counts for concurrency limits.

        A resumed run that is back in the queue counts after its claim.
        """
        return self.status is RunStatus.RUNNING and self.available_at is None

    @property
    def terminal(self) -> bool:
        return self.status in TERMINAL

    @property
    def paused(self) -> bool:
        """Whether the run is paused: only an unpause resumes it."""
        return self.waiting_reason == "pause"

    @property
    def blocked(self) -> str | None:
        """How the code of its handler differs from its log, as its worker reported it. None unless it waits for
        code that fits.
        """
        name = self.waiting_tool_name or ""
        return name.removeprefix(BLOCKED) if name.startswith(BLOCKED) else None

    @property
    def shown_reason(self) -> WaitingReason | None:
        """The waiting reason in answers: a pause is shown as `event`."""
        return "event" if self.waiting_reason == "pause" else self.waiting_reason

    @property
    def shown_priority(self) -> int:
        """The priority that the creator chose. See `KEYED`."""
        return self.priority if self.concurrency_key is None else self.priority + KEYED

    def lease_live(self, now: int) -> bool:
        """Whether a worker holds it. `now` in ms."""
        return (
            self.lease_expires_at is not None and self.lease_expires_at > now and self.status not in TERMINAL
        )


FIELDS: Final = Run.__struct_fields__


def seqs_of(path: str) -> tuple[int, ...]:
    """The seqs in a path: "/12/40/" → (12, 40)."""
    return tuple([int(seq) for seq in path.split("/") if seq and seq != "~"])


def in_queue(run: Run) -> tuple[int, int, int]:
    """Sort key of queued runs: the smallest key is claimed first."""
    assert run.claimable_at is not None
    return -run.shown_priority, run.claimable_at, run.seq


#: The fields whose values may be large.
LARGE: Final = frozenset(
    {"labels", "agent", "metadata", "artifacts", "config", "input", "output", "logs", "request_snapshot"}
)
#: The fields that a list may leave out: a run that was read without them has None there.
OMITTABLE: Final = LARGE | {"error"}
_omittable = attrgetter(*sorted(OMITTABLE - {"logs"}))


def large_bytes(run: Run) -> int:
    """Return the number of bytes of the fields in `OMITTABLE`."""
    size = sum([len(value) for value in _omittable(run) if value is not None])
    if run.logs is not None:
        size += len(run.logs) if run.logs.isascii() else len(run.logs.encode())
    return size
