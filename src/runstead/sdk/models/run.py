"""Runs. Times are aware `datetime`s in UTC. Durations are integers, with their unit in the name."""

from datetime import datetime
from typing import Any, Final, Literal

import msgspec

from runstead.sdk.errors import ErrorDetail
from runstead.sdk.models.response import Listing, Page, ResponseModel

Kind = Literal["agent", "workflow", "task", "eval"]
Status = Literal["pending", "running", "waiting", "completed", "failed", "cancelled"]
TerminalStatus = Literal["completed", "failed", "cancelled"]

TERMINAL_STATUSES: Final = frozenset({"completed", "failed", "cancelled"})


class Owner(ResponseModel, frozen=True, kw_only=True):
    """The owner of a run: a conversation for agent runs, a project for all others."""

    kind: Literal["conversation", "project"]
    id: str


class RunError(ErrorDetail, ResponseModel, frozen=True, kw_only=True):
    """Why a run failed or was cancelled. `detail` is any JSON.

    A handler that raised an exception gives its type's name and its traceback.
    """

    message: str
    code: str | None = None
    detail: Any = None


class Descendants(ResponseModel, frozen=True, kw_only=True):
    """The number of a run's descendants, and how many of them have not ended."""

    total: int = 0
    active: int = 0


class Cancellation(ResponseModel, frozen=True, kw_only=True):
    """A requested cancel. `stopped_at` is None until the last attempt has ended."""

    requested_at: datetime | None = None
    reason: str | None = None
    stopped_at: datetime | None = None


class Progress(ResponseModel, frozen=True, kw_only=True):
    """The last progress that a run's worker has emitted: a fraction from 0 to 1, a message for people, and when."""

    fraction: float | None = None
    message: str | None = None
    at: datetime | None = None


class RunValue(ResponseModel, frozen=True, kw_only=True):
    """A named value of a run (any JSON), the event that set it last, and when."""

    name: str
    value: Any
    event_id: int | None = None
    updated_at: datetime | None = None


class RunValues(ResponseModel, frozen=True, kw_only=True):
    """Named values of a run, in the order of their names: `values["stage"]`, or `values.data` with their times."""

    data: list[RunValue]

    def __getitem__(self, name: str) -> Any:
        for one in self.data:
            if one.name == name:
                return one.value
        raise KeyError(name)

    def get(self, name: str, default: Any = None) -> Any:
        """Return the value of a name, `default` where the run has not set it."""
        try:
            return self[name]
        except KeyError:
            return default


class RetryFrom(ResponseModel, frozen=True, kw_only=True):
    """The step `step_id` of the run `run_id` from which a retry goes on. It shares that run's log up to `event_id`."""

    run_id: str
    step_id: str
    event_id: int


class Run(ResponseModel, frozen=True, kw_only=True):
    """One run. `input`, `config`, `output` and `metadata` are any JSON value."""

    run_id: str
    kind: Kind
    status: Status
    owner: Owner
    root_run_id: str
    created_at: datetime
    updated_at: datetime
    parent_run_id: str | None = None
    waiting_reason: str | None = None
    metadata: Any = None
    target: str | None = None
    workflow_id: str | None = None
    schedule_id: str | None = None
    batch_id: str | None = None
    runtime_target_kind: str | None = None
    runtime_target_environment_id: str | None = None
    runtime_target_branch_id: str | None = None
    input: Any = None
    config: Any = None
    output: Any = None
    error: RunError | None = None
    logs: str | None = None
    artifacts: list[Any] = msgspec.field(default_factory=list)
    duration_ms: int | None = None
    exit_code: int | None = None
    timeout_seconds: int | None = None
    backoff_limit: int | None = None
    start_mode: str | None = None
    trigger_kind: str | None = None
    trigger_id: str | None = None
    created_by: str | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    # Members that are not part of the public Veryfront runs API, which has the 33 above
    project_id: str | None = None
    conversation_id: str | None = None
    title: str | None = None
    labels: dict[str, str] | None = None
    retry_of: str | None = None
    retry_from: RetryFrom | None = None
    compensates: str | None = None
    compensations: int = 0
    descendants: Descendants | None = None
    cancellation: Cancellation | None = None
    attempt: int | None = None
    priority: int = 0
    available_at: datetime | None = None
    worker_version: str | None = None
    pinned: bool = False
    implementation_kind: str | None = None
    worker_key: str | None = None
    lease_owner: str | None = None
    lease_expires_at: datetime | None = None
    latest_event_id: int | None = None
    latest_external_event_sequence: int | None = None
    progress: Progress | None = None
    waiting_tool_call_id: str | None = None
    waiting_tool_name: str | None = None
    waiting_run_id: str | None = None
    resume_at: datetime | None = None
    paused: bool = False
    scheduled_at: datetime | None = None
    missed_since: datetime | None = None
    #: Since then it is in the queue and no online worker serves its target; only in the answer of `get`.
    unserved_since: datetime | None = None
    etag: str | None = None
    # Flow control. `debounced`: how many later requests the run took over
    concurrency_key: str | None = None
    unique_key: str | None = None
    debounce_key: str | None = None
    debounced: int = 0

    @property
    def terminal(self) -> bool:
        """Whether the run has ended: completed, failed or cancelled."""
        return self.status in TERMINAL_STATUSES

    @property
    def blocked(self) -> str | None:
        """How its code differs from its log. None unless it waits for code that fits."""
        name = self.waiting_tool_name or ""
        return name.removeprefix("blocked: ") if name.startswith("blocked: ") else None


class RunPage(Listing[Run], frozen=True, kw_only=True):
    """One page of runs. `page_info.next` is the cursor of the next one."""


class RunList(Listing[Run], frozen=True, kw_only=True):
    """A page of a run's children or of its family.

    `omitted` names the members that are None in every run because they were not asked for with `fields`.
    """

    omitted: list[str] = msgspec.field(default_factory=list)


class CreatedRun(ResponseModel, frozen=True, kw_only=True):
    """The answer to a creation. `duplicate`: a run with this public id or key existed, and `run` is that one.

    `config_differs`, `input_differs`: it has another config or input, and that of the call was dropped.
    """

    accepted: bool
    run: Run
    duplicate: bool = False
    config_differs: bool = False
    input_differs: bool = False


class Completed(ResponseModel, frozen=True, kw_only=True):
    """The answer to a completion. `completed` is false where the run had ended with another outcome."""

    completed: bool
    run: Run


class Cancelled(ResponseModel, frozen=True, kw_only=True):
    """The answer to a cancel. `cancelled` is false where the run had ended before."""

    cancelled: bool
    run: Run


class AccessToken(ResponseModel, frozen=True, kw_only=True):
    """A token that reads one run or its family, or one conversation, until `expires_at`."""

    token: str
    expires_at: datetime


class Accepted(ResponseModel, frozen=True, kw_only=True):
    """The answer to an accepted call. `duplicate`: the same call was accepted before."""

    accepted: bool
    duplicate: bool = False


class Deleted(ResponseModel, frozen=True, kw_only=True):
    """The answer to the deletion of a run."""

    deleted: bool
    run_id: str


class Compensation(ResponseModel, frozen=True, kw_only=True):
    """A registered compensation. `run_id` is its run, None while the run that registered it has not ended."""

    number: int
    target: str
    title: str | None = None
    created_at: datetime | None = None
    run_id: str | None = None


class RegisteredCompensation(ResponseModel, frozen=True, kw_only=True):
    """The response to a registered compensation. `duplicate`: it was registered before."""

    compensation: Compensation
    duplicate: bool = False


class CompensationList(ResponseModel, frozen=True, kw_only=True):
    """The compensations of a run, in the order of their registration."""

    data: list[Compensation]


class OpenEvent(ResponseModel, frozen=True, kw_only=True):
    """An event that a run awaits: a signal of this name resumes it, as the result of the call. So does an event of the
    bus whose data has the values of `match` at these dotted paths.
    """

    name: str
    tool_call_id: str
    match: dict[str, Any] | None = None


class TakenSignal(ResponseModel, frozen=True, kw_only=True):
    """A signal that a run took in place of a wait. `payload` is any JSON."""

    id: str
    name: str
    payload: Any = None


class Waiting(ResponseModel, frozen=True, kw_only=True):
    """A run that waits, or that is paused. `signal`: the kept signal that it took, so that it does not wait."""

    run: Run
    signal: TakenSignal | None = None


class SentSignal(ResponseModel, frozen=True, kw_only=True):
    """A signal as it was sent."""

    id: str
    name: str
    created_at: datetime


class Signalled(ResponseModel, frozen=True, kw_only=True):
    """The answer to a signal. `delivered`: the run has taken it; otherwise it is kept until the run waits for it.

    `duplicate`: it was sent before with this key.
    """

    signal: SentSignal
    delivered: bool
    duplicate: bool = False


class Signal(ResponseModel, frozen=True, kw_only=True):
    """A signal of a run. `payload` is any JSON. The event `event_id` gave it to the run at `taken_at`."""

    id: str
    name: str
    payload: Any = None
    created_at: datetime
    taken_at: datetime | None = None
    event_id: int | None = None


class SignalPage(Page[Signal], frozen=True, kw_only=True):
    """A page of a run's signals, oldest first."""


class Attempt(ResponseModel, frozen=True, kw_only=True):
    """One attempt of a run by a worker, counted from 1.

    `outcome` is running, completed, failed, cancelled, lease_expired, released, timeout, parked (the worker released a
    waiting run), paused or dispatch_failed (the push service did not accept the run). `error` is any JSON.
    """

    attempt: int
    outcome: str
    lease_owner: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    error: Any = None


class AttemptList(Listing[Attempt], frozen=True, kw_only=True):
    """The attempts of a run, oldest first."""
