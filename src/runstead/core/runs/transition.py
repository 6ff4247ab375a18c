"""Input and result of a decision: the values that pass between the rules and an engine."""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import msgspec
from msgspec.structs import asdict, replace

from runstead.core.audit import Audit
from runstead.core.batches.batch import Batch
from runstead.core.budgets.budget import Budget
from runstead.core.budgets.counting import Spending, Spent
from runstead.core.conversations.conversation import Conversation
from runstead.core.conversations.input_request import ClosedInput, InputRequest
from runstead.core.runs.compensation import Compensation, RegisteredCompensations, WantedCompensations
from runstead.core.runs.event import Event, NewEvent
from runstead.core.runs.flow import NO_KEYED_RUNS, KeyedRuns, WantedKeys
from runstead.core.runs.run import Run
from runstead.core.runs.signal import FoundSignals, Signal, WantedSignals
from runstead.core.runs.values import RunValue
from runstead.core.schedules.schedule import Schedule

AttemptOutcome = Literal["lease_expired", "released", "timeout", "parked", "paused", "dispatch_failed"]


class EndedAttempt(msgspec.Struct, frozen=True):
    """An attempt that ended without a completion. Times in ms.

    `parked`: the worker released a waiting run. `paused`: a pause stopped the attempt. Neither counts as
    lost.
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


def attempts_of(run: Run, ended: Sequence[EndedAttempt], *, whole: bool = True) -> list[Attempt]:
    """Every attempt of a run, oldest first: those that are stored, then the current one, which the row holds.

    `whole`: `ended` reaches to the last stored one.
    """
    attempts = [Attempt(**asdict(each)) for each in ended]
    if whole and run.attempt and not (ended and ended[-1].attempt == run.attempt):
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
    """The assistant message that an agent run writes. Its status follows the run's. NOT_FOUND if its
    conversation does not exist or was deleted.
    """

    id: str
    conversation_id: str
    created_by: str | None


class Receipt(msgspec.Struct, frozen=True):
    """The record that a wait was answered: `key` names the tool call, `digest` is a digest of the answer."""

    key: str
    digest: bytes


class Loaded(msgspec.Struct, frozen=True):
    """What an engine loads under lock before it calls a rule. `now` in ms, by the engine's clock."""

    now: int
    run: Run | None = None
    parent: Run | None = None
    family_cancelled: bool = False  # the parent or one of its ancestors was cancelled
    # Events after `Want.expected_previous_event_id`, at most `limits.events_per_append_max`.
    tail: tuple[Event, ...] = ()
    receipt: Receipt | None = None
    input_request: InputRequest | None = None
    schedule: Schedule | None = None
    event_keys: Mapping[str, bytes] = msgspec.field(
        default_factory=dict
    )  # stored keys among those wanted → digest
    value_names: frozenset[str] = frozenset()
    signals: FoundSignals = FoundSignals()
    compensations: RegisteredCompensations = RegisteredCompensations()
    push_service_id: str | None = None  # the service that receives a started run of `Want.push_agent`
    batch: Batch | None = None
    keyed: KeyedRuns = NO_KEYED_RUNS

    source: Run | None = None  # the run of `Want.source_run_id`
    # Of a run in a project with budgets, or one that a rate of tokens counts
    spending: Spending | None = None

    def before(self, transition: "Transition") -> Run | None:
        """The loaded row of the run that the transition is of: an existing run may take the place of a new one."""
        if self.run is None and transition.run.seq:
            return next(run for run in self.keyed if run is not None and run.seq == transition.run.seq)
        return self.run


class Want(msgspec.Struct, frozen=True):
    """What a rule needs besides the row of the run."""

    parent_run_id: str | None = None
    expected_previous_event_id: int | None = None
    receipt_key: str | None = None
    input_request_id: str | None = None  # an input request of the run
    input_call: str | None = None  # the tool call of an input request of the run
    input_secrets: bool = False  # with the encrypted secrets of the response to that request
    schedule_id: str | None = None  # a schedule of the run's project; None in `Loaded` if it does not exist
    event_keys: tuple[str, ...] = ()
    value_names: bool = False  # the names of the run's values
    signals: WantedSignals | None = None
    compensations: WantedCompensations | None = None
    push_agent: str | None = None  # the agent whose push service is wanted; "" for a run without an agent
    batch_id: str | None = None  # a batch of the run's project; None in `Loaded` if the id is only a label
    keys: WantedKeys | None = None  # of a new run: the runs that hold its keys
    # A run of the project whose log is copied; None in `Loaded` if it was deleted
    source_run_id: str | None = None
    fresh: bool = False  # the run's id was generated for this command, so that no run has it
    spends: bool = False  # the budgets and rates of tokens that count the run, locked


class Transition(msgspec.Struct, frozen=True):
    """The result of a rule: the new row, and everything that changes with it in one transaction.

    `accepted` is whether the call had its effect: whether it completed, cancelled or renewed the run. If
    `run` is the loaded object itself, nothing is written, unless `deletes` is true.
    """

    run: Run
    events: tuple[NewEvent, ...] = ()
    accepted: bool = True
    duplicate: bool = False
    differs: tuple[str, ...] = ()  # of a repeated creation: the values that are not those of the run
    ended: EndedAttempt | None = None
    receipt: Receipt | None = None
    values: Sequence[RunValue] = ()  # named values, stored in place of those with the same names
    signal: Signal | None = None  # a new one, or one that the run takes
    held_contents: Sequence[str] = ()  # uids of other runs whose stored contents this new run lists
    compensation: Compensation | None = None  # a new one, or for a duplicate the stored one
    message: NewMessage | None = None
    conversation: Conversation | None = None  # a new one, stored before the message
    schedule: Schedule | None = None  # the new row of the wanted schedule
    family_total: int = 0  # added to descendants_total of every ancestor
    family_active: int = 0  # added to descendants_active of every ancestor
    cancels_family: bool = False  # descendants that have not ended are cancelled too
    # The caller's request after this transition; stored if it is new
    input_request: InputRequest | None = None
    closed_input: ClosedInput | None = None  # the open request that this transition closes
    deletes: bool = False  # the loaded run is deleted with everything that belongs to it
    audit: Audit | None = None  # who changes the run, for the audit log; None for changes that it leaves out
    budget: Budget | None = None  # of a new run: the budget that bounds it and its descendants
    spent: Spent | None = None  # what changes in the budgets and rates of tokens that count the run


Decide = Callable[[Loaded], Transition]
"""A rule with bound arguments. It is pure: no I/O, no clock, no random values of its own."""

NOTHING_ELSE = Want()
SPENDING = Want(spends=True)
#: These need no other rows, but perhaps the budgets.
ROW_ALONE = (NOTHING_ELSE, SPENDING, Want(fresh=True))


def audited(decide: Decide, audit: Audit) -> Decide:
    """Return the same rule, whose changes the audit log records."""
    return lambda loaded: replace(decide(loaded), audit=audit)


class Due(msgspec.Struct, frozen=True):
    """A due schedule, as an engine loads it under lock. `now` in ms, by the engine's clock."""

    now: int
    schedule: Schedule
    run: Run | None = None  # the run that already has the id of this firing
    # Active runs of the schedule, oldest first: at most one for Forbid or while the schedule is being
    # deleted, at most `limits.schedule_replaced_runs_max` for Replace, none for Allow.
    running: tuple[Run, ...] = ()
    conversation_live: bool = True  # False: the conversation of the schedule does not exist or was deleted
    push_service_id: str | None = None  # the service that receives runs of the schedule's agent
    keyed: KeyedRuns = NO_KEYED_RUNS  # the runs with the keys of the schedule's runs

    def before(self, transition: Transition) -> Run | None:
        """The loaded row of the run that takes over the firing. None: the run is new."""
        return self.keyed.debounce if transition.run.seq else None


FiringOutcome = Literal[
    "fired", "debounced", "repeated", "skipped", "failed", "replacing", "planned", "deleting", "removed"
]


class Fired(msgspec.Struct, frozen=True):
    """The result of a firing: the new row of the schedule (None: it is removed), the new run or the one that takes
    over the firing, and the cancelled runs that it replaces. If `schedule` is the loaded object itself, it is not written.
    """

    schedule: Schedule | None
    outcome: FiringOutcome
    transition: Transition | None = None
    cancels: tuple[Transition, ...] = ()


DecideFiring = Callable[[Due], Fired]
"""A rule for a due schedule; pure like `Decide`."""
