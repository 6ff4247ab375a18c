"""Invariants of a store, which `runstead db check` verifies.

An invariant of runs is a function in `RULES`: it gets the stored facts of one run and yields a sentence for
each violation. Any other invariant is a line in `CHECKS`, with a statement of that name in
`engines/sql/statements/integrity.sql`.
"""

from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from runstead.core import limits
from runstead.core.runs import event
from runstead.core.runs.run import PINNED_QUEUE, Run, RunStatus
from runstead.core.runs.signal import awaited_in
from runstead.core.runs.transitions import claimable, due_at

#: Attempts that ended with one of these do not count as lost.
NOT_LOST: Final = frozenset({"parked", "paused", "dispatch_failed"})
#: Tables in which every row belongs to the run of its `run_seq`. (Families keep the positions of deleted
#: runs.)
BELONGINGS: Final = {
    "run_events": "events",
    "run_event_keys": "keys of events",
    "run_attempts": "attempts",
    "run_receipts": "receipts",
    "run_values": "values",
    "run_signals": "signals",
    "event_waits": "waits for events",
    "run_compensations": "compensations",
    "worker_sessions": "worker sessions",
    "input_requests": "input requests",
    "input_secrets": "secrets of input requests",
    "run_families": "family counters",
}
#: Checks besides those of runs: name → sentence, with a placeholder for each column of the query.
CHECKS: Final = {
    "message_without_run": "The message {0} of the conversation {1} belongs to run number {2}, which does not exist",
    "message_without_conversation": "The message {0} belongs to the conversation {1}, which does not exist",
    "message_count": "The conversation {0} counts {1} messages, but has one with the number {2}",
    "newest_message": "The conversation {0} names {1} as its newest message, but it is {2}",
    "batch_count": "The batch {0} counts {1} active runs, but there are {2}",
    "secrets_of_ended_run": "The input request {0} has secrets, but its run number {1} has ended",
    "input_without_conversation": "The input request {0} belongs to the conversation {1}, which does not exist",
}


class LogFacts(msgspec.Struct, frozen=True):
    """Facts of a run's log. `counted`: events that the external sequence counts. `miscounted`: events whose
    sequence differs from the count so far. `misplaced`: events that readers of the run do not find. `ends`:
    terminal events. `last_payload` is set for a RUN_ERROR that is not large.
    """

    count: int = 0
    first: int = 0
    last: int = 0
    counted: int = 0
    miscounted: int = 0
    misplaced: int = 0
    ends: int = 0
    last_type: str | None = None
    last_payload: bytes | None = None


class ParentFacts(msgspec.Struct, frozen=True):
    seq: int
    run_id: str
    project_id: str
    root_seq: int
    root_run_id: str
    path: str


class FamilyFacts(msgspec.Struct, frozen=True):
    """Facts of a root run: the positions of events in its family. `gaps`: ranges that do not start where the
    previous range ends. `placed`: events of descendants that have a position. `stored`: all events of
    descendants.
    """

    gaps: int = 0
    placed: int = 0
    stored: int = 0


class CheckedRun(msgspec.Struct, frozen=True):
    """A run without its large values, and the other stored facts about it, all read at one moment.

    An `error` that is too large to read is empty. `children`: (total, active), computed from the rows of its
    children.
    """

    run: Run
    log: LogFacts = LogFacts()
    children: tuple[int, int] = (0, 0)
    parent: ParentFacts | None = None
    attempts_lost: int = 0
    latest_ended_attempt: int = 0
    latest_keyed_event: int = 0
    open_inputs: tuple[str, ...] = ()
    family: FamilyFacts = FamilyFacts()
    values: int = 0
    latest_value_event: int = 0
    signals: int = 0
    latest_signal: int = 0
    latest_signal_event: int = 0
    event_waits: int = 0
    compensations: int = 0  # registered, without a run
    uncancelled: int = 0  # active descendants of a cancelled run that its cancel should have reached


class Violation(msgspec.Struct, frozen=True):
    """A violated invariant. `rule` is its name, `sentence` describes the violation."""

    rule: str
    sentence: str
    run_id: str | None = None
    project_id: str | None = None


def events_are_gapless(one: CheckedRun) -> Iterator[str]:
    log, latest = one.log, one.run.latest_event_id
    if latest < 0 or (log.count, log.last) != (latest, latest) or log.first != min(latest, 1):
        held = (
            "no events" if not log.count else f"{log.count} event(s), numbered from {log.first} to {log.last}"
        )
        yield (
            f"should have the events 1 to {latest}, but has {held}"
            if latest
            else f"has {held}, but latest_event_id is {latest}"
        )
    if log.misplaced:
        yield f"has {log.misplaced} event(s) where readers do not find them"


def external_sequence_counts_external_events(one: CheckedRun) -> Iterator[str]:
    sequence = one.run.latest_external_event_sequence
    if sequence != one.log.counted:
        yield f"has the external sequence {sequence}, but {one.log.counted} external event(s)"
    if one.log.miscounted:
        yield f"has {one.log.miscounted} event(s) with a wrong external sequence"


def a_run_ends_once_and_last(one: CheckedRun) -> Iterator[str]:
    run, log = one.run, one.log
    if log.ends != run.terminal:
        wanted = "one terminal event" if run.terminal else "no terminal event"
        yield f"is {run.status.value} and should have {wanted}, not {log.ends}"
    if not run.terminal or not log.count:
        return
    expected = event.RUN_FINISHED if run.status is RunStatus.COMPLETED else event.RUN_ERROR
    if log.last_type != expected:
        yield f"is {run.status.value} and should end with {expected}, not with {log.last_type}"


def the_error_matches_the_last_event(one: CheckedRun) -> Iterator[str]:
    run = one.run
    if run.status is RunStatus.FAILED and run.error is None:
        yield "has failed without an error"
    if run.status is RunStatus.COMPLETED or not run.error or one.log.last_payload is None or not run.terminal:
        return
    error = msgspec.json.decode(run.error)
    payload = msgspec.json.decode(one.log.last_payload)
    if (error.get("message"), error.get("code")) != (payload.get("message"), payload.get("code")):
        yield "has another error than its last event"


def an_end_has_its_time(one: CheckedRun) -> Iterator[str]:
    run = one.run
    if (run.completed_at is not None) != run.terminal or (run.duration_ms is not None) != run.terminal:
        yield f"is {run.status.value}, with completed_at {run.completed_at} and duration_ms {run.duration_ms}"
    if run.updated_at < run.created_at:
        yield "was updated before it was created"


def a_wait_has_a_reason(one: CheckedRun) -> Iterator[str]:
    run = one.run
    waits = run.status is RunStatus.WAITING
    if (run.waiting_reason is not None) != waits:
        yield f"is {run.status.value} with the waiting reason {run.waiting_reason}"
    left = (
        run.waiting_tool_call_id,
        run.waiting_tool_name,
        run.wait_expires_at,
        run.resume_at,
        run.open_approvals,
    )
    if not waits and any(value is not None for value in (*left, run.paused_available_at)):
        yield f"is {run.status.value}, but its wait was not cleared"


def a_request_is_open_while_it_holds_its_run(one: CheckedRun) -> Iterator[str]:
    held = () if one.run.waiting_input_id is None else (one.run.waiting_input_id,)
    if one.open_inputs != held:
        yield f"waits for the input request(s) {list(held)}, but {list(one.open_inputs)} are open"


def the_queue_holds_what_may_be_claimed(one: CheckedRun) -> Iterator[str]:
    run = one.run
    if run.claimable_at is not None and not claimable(run, run.claimable_at):
        yield f"is in the queue, although it is {run.status.value} or leased"
    in_pinned_queue = run.available_at is not None and run.pinned_to is not None
    if (run.pinned_available_at is not None) != in_pinned_queue or (
        in_pinned_queue and run.available_at != PINNED_QUEUE
    ):
        yield f"is pinned to the version {run.pinned_to}, but is not in the queue of that version alone"
    if run.status is RunStatus.PENDING and run.queued and run.available_at is None and not run.held:
        yield "is pending, but not in the queue"


def the_deadline_fits_the_state(one: CheckedRun) -> Iterator[str]:
    run = one.run
    if (
        run.lease_expires_at is not None
        and run.timeout_seconds is not None
        and run.attempt_started_at is None
    ):
        yield "has a lease, but its attempt has no start time"
    elif run.due_at != due_at(run):
        yield f"has the due_at {run.due_at}, but its deadlines give {due_at(run)}"


def a_lease_belongs_to_an_attempt(one: CheckedRun) -> Iterator[str]:
    run = one.run
    if run.lease_token is None and (run.lease_expires_at is not None or run.lease_ms is not None):
        yield "has a lease without a token"
    if run.lease_token is not None and (run.attempt < 1 or run.lease_owner is None):
        yield "has a lease token without an attempt or an owner"
    if run.status is RunStatus.PENDING and run.lease_token is not None:
        yield "is pending and leased"
    live = run.status in (RunStatus.RUNNING, RunStatus.WAITING)
    if live and run.lease_token is not None and run.lease_expires_at is None:
        yield f"is {run.status.value} with a lease that never ends"
    if run.status in (RunStatus.COMPLETED, RunStatus.FAILED) and run.lease_expires_at is not None:
        yield "has ended and its lease has not"


def attempts_are_counted(one: CheckedRun) -> Iterator[str]:
    run = one.run
    if run.attempts_lost != one.attempts_lost:
        yield f"counts {run.attempts_lost} lost attempt(s), but {one.attempts_lost} are recorded"
    if max(run.attempts_lost, one.latest_ended_attempt) > run.attempt:
        yield f"is at attempt {run.attempt}, but attempt {one.latest_ended_attempt} has ended"


def a_cancel_is_requested_before_it_is_done(one: CheckedRun) -> Iterator[str]:
    run = one.run
    if run.cancel_requested_at is not None and run.status is not RunStatus.CANCELLED:
        yield f"was cancelled, but is {run.status.value}"
    if run.cancel_stopped_at is not None and run.cancel_requested_at is None:
        yield "stopped after a cancel that was not requested"


def a_parent_exists(one: CheckedRun) -> Iterator[str]:
    run, parent = one.run, one.parent
    if run.parent_seq is None:
        if (run.path, run.root_seq, run.root_run_id, run.parent_run_id) != ("/", run.seq, run.run_id, None):
            yield f"has no parent, but the path {run.path} and the root {run.root_run_id}"
    elif parent is None:
        yield f"is a child of {run.parent_run_id}, which does not exist"
    else:
        path = f"{parent.path}{parent.seq}/" + ("~/" if run.compensates is not None else "")
        place = (run.parent_run_id, run.project_id, run.root_seq, run.root_run_id, run.path)
        if place != (parent.run_id, parent.project_id, parent.root_seq, parent.root_run_id, path):
            yield f"does not match its parent {parent.run_id}: its root or its path is wrong"


def counters_count_the_family(one: CheckedRun) -> Iterator[str]:
    run = one.run
    if (run.descendants_total, run.descendants_active) != one.children:
        counted = f"{run.descendants_total} descendant(s), {run.descendants_active} of them active"
        yield f"counts {counted}, but there are {one.children[0]} and {one.children[1]}"
    if (
        run.status is RunStatus.CANCELLED
        and one.uncancelled
        and one.children[0] <= limits.family_cancel_rows_max
    ):
        # Those of a larger family may be cancelled in later transactions.
        yield f"was cancelled, but {one.uncancelled} descendant(s) are active"


def a_family_has_one_order(one: CheckedRun) -> Iterator[str]:
    family = one.family
    if family.gaps:
        yield f"has {family.gaps} gap(s) in the order of its family's events"
    if family.placed != family.stored:
        yield f"has descendants with {family.stored} event(s), but {family.placed} of them have a position"


def a_key_belongs_to_an_event(one: CheckedRun) -> Iterator[str]:
    if one.latest_keyed_event > one.run.latest_event_id:
        yield f"has a key of event {one.latest_keyed_event}, but its latest event is {one.run.latest_event_id}"


def a_value_belongs_to_an_event(one: CheckedRun) -> Iterator[str]:
    if one.latest_value_event > one.run.latest_event_id:
        yield f"has a value of event {one.latest_value_event}, but its latest event is {one.run.latest_event_id}"
    if one.values > limits.values_per_run_max:
        yield f"has {one.values} values, but {limits.values_per_run_max} is the maximum"


def signals_are_gapless(one: CheckedRun) -> Iterator[str]:
    if one.latest_signal != one.signals:
        yield f"has {one.signals} signal(s), but the latest one has the number {one.latest_signal}"
    if one.latest_signal_event > one.run.latest_event_id:
        yield (
            f"has taken a signal by event {one.latest_signal_event}, but its latest event is "
            f"{one.run.latest_event_id}"
        )


def awaited_events_are_indexed(one: CheckedRun) -> Iterator[str]:
    awaited = len(awaited_in(one.run.waiting_events))
    if one.event_waits != awaited:
        yield f"awaits {awaited} event(s), but the event bus finds {one.event_waits}"


def compensations_are_kept_until_the_end(one: CheckedRun) -> Iterator[str]:
    if one.compensations != (one.run.compensations or 0):
        yield (
            f"is {one.run.status.value} and counts {one.run.compensations or 0} registered compensation(s), but "
            f"{one.compensations} are stored"
        )


RULES: Final[tuple[Callable[[CheckedRun], Iterator[str]], ...]] = (
    events_are_gapless,
    external_sequence_counts_external_events,
    a_run_ends_once_and_last,
    the_error_matches_the_last_event,
    an_end_has_its_time,
    a_wait_has_a_reason,
    a_request_is_open_while_it_holds_its_run,
    the_queue_holds_what_may_be_claimed,
    the_deadline_fits_the_state,
    a_lease_belongs_to_an_attempt,
    attempts_are_counted,
    a_cancel_is_requested_before_it_is_done,
    a_parent_exists,
    counters_count_the_family,
    a_family_has_one_order,
    a_key_belongs_to_an_event,
    a_value_belongs_to_an_event,
    signals_are_gapless,
    awaited_events_are_indexed,
    compensations_are_kept_until_the_end,
)


def violations(one: CheckedRun) -> Iterator[Violation]:
    """Yield all violations of one run."""
    for rule in RULES:
        for violation in rule(one):
            sentence = f"Run {one.run.run_id} {violation}"
            yield Violation(rule.__name__, sentence, one.run.run_id, one.run.project_id)


def orphaned(table: str, run_seq: int) -> Violation:
    return Violation(
        "no_orphans", f"{BELONGINGS[table].capitalize()} belong to run number {run_seq}, which does not exist"
    )


def broken(check: str, values: tuple[object, ...]) -> Violation:
    return Violation(check, CHECKS[check].format(*values))
