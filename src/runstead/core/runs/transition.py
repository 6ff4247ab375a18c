"""What a decision is made from, and what it comes to: values that pass between the rules and an engine."""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import msgspec
from msgspec.structs import asdict

from runstead.core.batches.batch import Batch
from runstead.core.conversations.conversation import Conversation
from runstead.core.conversations.input_request import ClosedInput, InputRequest
from runstead.core.runs.event import Event, NewEvent
from runstead.core.runs.run import Run
from runstead.core.schedules.schedule import Schedule

AttemptOutcome = Literal["lease_expired", "released", "timeout", "parked", "paused", "dispatch_failed"]


class EndedAttempt(msgspec.Struct, frozen=True):
    """An attempt that ended without a completion. `parked`: it let go of a run that waits; `paused`: it was stopped by
    a pause. Neither counts as lost.
    """

    attempt: int
    lease_owner: str | None
    started_at: int
    ended_at: int
    outcome: AttemptOutcome
    error: bytes | None = None


class Attempt(msgspec.Struct, frozen=True):
    """An attempt of a run as readers see it. `outcome` is that of an ended attempt, `running`, or the run's last status."""

    attempt: int
    lease_owner: str | None
    started_at: int | None
    ended_at: int | None
    outcome: str
    error: bytes | None


def attempts_of(run: Run, ended: Sequence[EndedAttempt]) -> list[Attempt]:
    """Every attempt of a run, oldest first: those that are stored, then the current one, which the row holds."""
    attempts = [Attempt(**asdict(each)) for each in ended]
    if run.attempt and not (ended and ended[-1].attempt == run.attempt):
        attempts.append(
            Attempt(
                attempt=run.attempt,
                lease_owner=run.lease_owner,
                started_at=run.attempt_started_at,
                ended_at=run.completed_at,
                outcome=run.status.value if run.terminal else "running",
                error=run.error if run.terminal else None,
            )
        )
    return attempts


class NewMessage(msgspec.Struct, frozen=True):
    """The assistant message that an agent run fills. Its status follows the run's. NOT_FOUND where its conversation
    is not there, or was deleted.
    """

    id: str
    conversation_id: str
    created_by: str | None


class Receipt(msgspec.Struct, frozen=True):
    """That a wait was answered: which call, and a digest of with what."""

    key: str
    digest: bytes


class Loaded(msgspec.Struct, frozen=True):
    """What an engine loads, under lock, before it asks for a decision. `now` in ms, by the engine's clock."""

    now: int
    run: Run | None = None
    parent: Run | None = None
    family_cancelled: bool = False  # the parent or a run above it was cancelled
    tail: tuple[Event, ...] = ()  # events after `Want.tail_after`, at most one append's worth
    receipt: Receipt | None = None
    input_request: InputRequest | None = None
    schedule: Schedule | None = None
    event_keys: Mapping[str, bytes] = msgspec.field(default_factory=dict)  # the stored ones wanted: digests
    push_service_id: str | None = None  # the service that a started run of `Want.push_agent` goes to
    batch: Batch | None = None


class Want(msgspec.Struct, frozen=True):
    """What a decision needs beside the row itself."""

    parent_run_id: str | None = None
    expected_previous_event_id: int | None = None
    receipt_key: str | None = None
    input_request_id: str | None = None  # one of the run's
    input_call: str | None = None  # the input request that the run made for this tool call
    schedule_id: str | None = None  # of the run's project; one that is not there is None in `Loaded`
    event_keys: tuple[str, ...] = ()
    push_agent: str | None = None  # whose runs go to which push service? "" for a run that names no agent
    batch_id: str | None = None  # of the run's project; a mere label is None in `Loaded`
    fresh: bool = False  # its id was made for this command: no run has it


class Transition(msgspec.Struct, frozen=True):
    """What a decision comes to: the row as it shall be, and all that changes with it in one transaction.

    `accepted` answers the caller's question (did this call complete it, cancel it, renew it …). Where `run` is the
    very object that was loaded, nothing is written, unless it `deletes`.
    """

    run: Run
    events: tuple[NewEvent, ...] = ()
    accepted: bool = True
    duplicate: bool = False
    ended: EndedAttempt | None = None
    receipt: Receipt | None = None
    message: NewMessage | None = None
    conversation: Conversation | None = None  # a new one, stored before the message
    schedule: Schedule | None = None  # the wanted one as it shall be
    family_total: int = 0  # added to descendants_total of every ancestor
    family_active: int = 0  # added to descendants_active of every ancestor
    cancels_family: bool = False  # its descendants that have not ended are cancelled with it
    input_request: InputRequest | None = (
        None  # what the caller asked about, as it stands now; stored where it is new
    )
    closed_input: ClosedInput | None = None  # the open request that no longer holds the run
    deletes: bool = False  # the loaded run goes, with all that belongs to it


Decide = Callable[[Loaded], Transition]
"""A rule with its arguments bound. Pure: no I/O, no clock, no randomness of its own."""

NOTHING_ELSE = Want()


class Due(msgspec.Struct, frozen=True):
    """A schedule that must be looked at, as an engine loads it under lock. `now` in ms, by the engine's clock."""

    now: int
    schedule: Schedule
    run: Run | None = None  # the one that has the id of this firing already
    # Runs of it that have not ended, oldest first: one for Forbid or while it is being deleted, at most
    # `limits.schedule_replaced_runs_max` for Replace. Allow looks for none.
    running: tuple[Run, ...] = ()
    conversation_live: bool = True  # False: the one that it speaks in is not there, or was deleted
    push_service_id: str | None = None  # the service that runs of its agent go to


FiringOutcome = Literal[
    "fired", "repeated", "skipped", "failed", "replacing", "planned", "deleting", "removed"
]


class Fired(msgspec.Struct, frozen=True):
    """What becomes of a schedule that was looked at: the row as it shall be (None: it goes), the run that it makes, and
    those that this run takes the place of. Where `schedule` is the very object that was loaded, it is not written.
    """

    schedule: Schedule | None
    outcome: FiringOutcome
    transition: Transition | None = None
    cancels: tuple[Transition, ...] = ()


DecideFiring = Callable[[Due], Fired]
"""A rule, as `Decide` is one."""
