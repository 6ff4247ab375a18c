"""The write set: everything that one transition stores. Engines store it and add no rules.

Three parts need rows that few transitions load, so separate pure functions compute them: webhook deliveries
(`core.webhooks.event.deliveries`), the schedule of a run that ended (`core.schedules.schedule.ended`) and the
roll-up entries of a deleted run (`core.usage.rollup.gone`).
"""

from collections.abc import Iterable, Sequence
from itertools import compress
from operator import is_not
from typing import Any, Final, NamedTuple

import msgspec
from msgspec.structs import astuple, replace

from runstead.core.audit import AuditEntry, entries as audit_entries
from runstead.core.batches.batch import BatchMove, batch_move
from runstead.core.budgets.budget import Budget
from runstead.core.budgets.counting import Spent
from runstead.core.conversations.conversation import Conversation, StoredMessage
from runstead.core.conversations.input_request import ClosedInput, InputRequest
from runstead.core.runs import transitions
from runstead.core.runs.compensation import Compensation, compensation_runs
from runstead.core.runs.event import EXTERNAL_SOURCES, Event, NewEvent
from runstead.core.runs.run import FIELDS, Run, RunStatus
from runstead.core.runs.signal import Signal
from runstead.core.runs.transition import EndedAttempt, Receipt, Transition
from runstead.core.runs.values import RunValue
from runstead.core.schedules.schedule import Schedule
from runstead.core.usage.rollup import Entry, ended
from runstead.core.webhooks.event import event_of


class EventKey(NamedTuple):
    """The idempotency key of an event, with a digest of its payload."""

    key: str
    event_id: int
    digest: bytes


class WriteSet(msgspec.Struct, frozen=True, gc=False):
    """Everything that a transition stores in one transaction. `now` is the time of the write in ms.

    `run` is the new row. If it is `before` itself, nothing is stored, unless the run is deleted. Records that
    are already complete in the transition are read from it by the properties.
    """

    before: Run | None
    run: Run
    transition: Transition
    now: int
    events: Sequence[Event] = ()
    event_keys: Sequence[EventKey] = ()
    ancestors: tuple[int, ...] = ()  # seqs of the runs whose family counters change, root first
    batch_move: BatchMove | None = None
    webhook_event: str | None = None
    rollup_entries: Sequence[Entry] = ()

    @property
    def unchanged(self) -> bool:
        return self.run is self.before and not self.transition.deletes

    @property
    def deletes(self) -> bool:
        """Whether the run is deleted with everything that belongs to it."""
        return self.transition.deletes

    @property
    def audit_entries(self) -> Sequence[AuditEntry]:
        """The entries of the audit log, if the command's caller is recorded and it changed the run."""
        audit = self.transition.audit
        if audit is None:
            return ()
        return audit_entries(audit, self.before, None if self.deletes else self.run, self.now)

    @property
    def ended_attempt(self) -> EndedAttempt | None:
        return self.transition.ended

    @property
    def receipt(self) -> Receipt | None:
        return self.transition.receipt

    @property
    def moves_event_waits(self) -> bool:
        """Whether the run awaits other events of the bus than before."""
        return self.before is not None and self.run.waiting_events != self.before.waiting_events

    @property
    def values(self) -> Sequence[RunValue]:
        """Named values, stored in place of those with the same names."""
        return self.transition.values

    @property
    def signal(self) -> Signal | None:
        """A new signal, or one that the run has taken: stored in place of the one with its number."""
        return self.transition.signal

    @property
    def held_contents(self) -> Sequence[str]:
        """The uids of other runs whose stored contents the new run lists: they are kept as long as it exists."""
        return self.transition.held_contents

    @property
    def budget(self) -> Budget | None:
        """The budget of a new run and its descendants."""
        budget = self.transition.budget
        if budget is None:
            return None
        now, seq = self.now, self.run.seq
        return replace(budget, family_seq=seq, created_at=now, updated_at=now)

    @property
    def changes_budgets(self) -> bool:
        return self.transition.spent is not None or self.transition.budget is not None

    @property
    def spent(self) -> Spent | None:
        """What changes in the budgets that count the run."""
        return self.transition.spent

    @property
    def compensation(self) -> Compensation | None:
        """A new compensation."""
        return None if self.transition.duplicate else self.transition.compensation

    @property
    def changes_compensations(self) -> bool:
        """Whether the run registers a compensation, or ends with registered ones."""
        return self.before is not None and self.before.compensations != self.run.compensations

    @property
    def ends_compensations(self) -> bool:
        """Whether the run has registered compensations and ends: the engine passes them to `compensate`, or drops those
        of a completed run.
        """
        before = self.before
        return before is not None and before.compensations is not None and self.run.compensations is None

    @property
    def ends_compensation(self) -> bool:
        """Whether the run is a compensation that ends: the engine passes the first of its parent's that has not ended to
        `release_next`.
        """
        run, before = self.run, self.before
        return run.path.endswith("~/") and run.terminal and before is not None and not before.terminal

    @property
    def conversation(self) -> Conversation | None:
        """A new conversation, stored before the message."""
        return self.transition.conversation

    @property
    def message(self) -> StoredMessage | None:
        """The new message that the agent run writes."""
        message = self.transition.message
        if message is None:
            return None
        return StoredMessage(
            id=message.id,
            conversation_id=message.conversation_id,
            role="assistant",
            created_at=self.now,
            updated_at=self.now,
            run_seq=self.run.seq,
            created_by=message.created_by,
        )

    @property
    def opened_input(self) -> InputRequest | None:
        """The input request, if it is new."""
        request = self.transition.input_request
        return request if request is not None and request.seq == 0 else None

    @property
    def closed_input(self) -> ClosedInput | None:
        return self.transition.closed_input

    @property
    def erases_secrets(self) -> bool:
        """Whether the run ends and may have secrets of input requests.

        Such a run has a conversation, and the response added an event that the external sequence does not count. So
        most runs that end need no statement for this.
        """
        run, before = self.run, self.before
        return (
            run.conversation_id is not None
            and run.terminal
            and before is not None
            and not before.terminal
            and before.latest_event_id > before.latest_external_event_sequence
        )

    @property
    def schedule(self) -> Schedule | None:
        """The schedule that the transition loaded, with its changes."""
        return self.transition.schedule

    @property
    def family_total(self) -> int:
        """The change of `descendants_total` of the ancestors."""
        return self.transition.family_total

    @property
    def family_active(self) -> int:
        """The change of `descendants_active` of the ancestors."""
        return self.transition.family_active

    @property
    def artifact_bytes(self) -> int:
        """The change of the number of bytes of the project's stored artifacts."""
        before = 0 if self.before is None else self.before.artifact_bytes or 0
        return (0 if self.deletes else self.run.artifact_bytes or 0) - before

    @property
    def ends_schedule_run(self) -> bool:
        """Whether the run's schedule records how the run ended."""
        run, before = self.run, self.before
        return run.schedule_id is not None and run.terminal and before is not None and not before.terminal

    @property
    def joins_family(self) -> bool:
        """Whether it stores a new child. A parent's first child gives the family's events an order."""
        return self.before is None and self.run.parent_seq is not None

    @property
    def keyed_target(self) -> str | None:
        """The target of a new run with a concurrency key."""
        return self.run.target if self.before is None and self.run.concurrency_key is not None else None

    @property
    def cancels_family(self) -> bool:
        """Whether descendants that have not ended are cancelled in the same transaction, by `cancel_descendants`."""
        return self.transition.cancels_family and self.run is not self.before


def write_set(before: Run | None, transition: Transition, now: int, seq: int = 0) -> WriteSet:
    """Compute the write set of a transition. `before` is the loaded row; `seq` is the number of a new row.

    It asserts that the version grows, that the identity of the run stays the same, and that the row counts
    its events.
    """
    run = transition.run
    moves_family = run.parent_seq is not None and (transition.family_total or transition.family_active)
    if run is before:
        return WriteSet(before, run, transition, now, ancestors=run.ancestor_seqs if moves_family else ())
    assert not transition.deletes
    latest, sequence = 0, 0
    if before is None:
        assert run.seq == 0
        assert seq > 0
        run = replace(run, seq=seq, root_seq=seq if run.root_seq is None else run.root_seq)
    else:
        latest, sequence = before.latest_event_id, before.latest_external_event_sequence
        _assert_same_run(before, run)
    events: Sequence[Event] = ()
    keys: Sequence[EventKey] = ()
    if transition.events:
        keys = _keys(transition.events, latest)
        events = _numbered(transition.events, latest, sequence, now)
        latest, sequence = events[-1].event_id, events[-1].sequence
        stored = 0 if before is None else before.event_bytes or 0
        run = replace(run, event_bytes=stored + sum([len(event.payload) for event in transition.events]))
    assert run.latest_event_id == latest, (run.latest_event_id, latest)
    assert run.latest_external_event_sequence == sequence, (run.latest_external_event_sequence, sequence)
    return WriteSet(
        before,
        run,
        transition,
        now,
        events=events,
        event_keys=keys,
        ancestors=run.ancestor_seqs if moves_family else (),
        batch_move=None if run.batch_id is None else batch_move(before, run),
        webhook_event=event_of(before, run),
        rollup_entries=ended(before, run),
    )


def cancel_descendants(cancelled: WriteSet, descendants: Iterable[Run]) -> list[WriteSet]:
    """Return the write sets of the descendants that are cancelled with a run.

    `descendants` are the loaded rows that have not ended. Compensations, and their descendants, are spared.
    """
    seq = cancelled.run.seq
    return [
        cancel_below(cancelled.run, run, cancelled.now)
        for run in descendants
        if not run.terminal and seq in run.cancelling_seqs
    ]


def cancel_below(ancestor: Run, run: Run, now: int) -> WriteSet:
    """Return the write set of a run that is cancelled because its ancestor was cancelled."""
    at = max(now, run.updated_at)
    return write_set(run, transitions.cancel(run, now=at, reason=ancestor.cancel_reason), at)


def compensate(
    ended: WriteSet, registered: Sequence[Compensation], seqs: Iterable[int]
) -> list[tuple[Compensation, WriteSet]]:
    """Return the write sets of the compensations of a run that ends, in order, each with its record as it becomes.

    `seqs`: the number of each new row. Empty for a run that completes.
    """
    if ended.run.status is RunStatus.COMPLETED:
        return []
    return [
        (
            replace(compensation, config=None, input=None, child_seq=seq),
            write_set(None, Transition(run, family_total=1, family_active=1), ended.now, seq),
        )
        for (compensation, run), seq in zip(compensation_runs(ended.run, registered), seqs, strict=True)
    ]


def release_next(ended: WriteSet, first: Run | None) -> WriteSet | None:
    """Return the write set that queues the next compensation after one that ends. None: there is none to queue.

    `first`: the first compensation of the same run that has not ended.
    """
    if first is None or not first.held:
        return None
    at = max(ended.now, first.updated_at)
    return write_set(first, transitions.release_compensation(first, now=at), at)


def changed_fields(old: Run, new: Run) -> dict[str, Any]:
    """Return field → new value for the fields that differ. One transaction may write a row several times."""
    was, becomes = astuple(old), astuple(new)
    # Most values are the same objects, so comparing by identity first is faster.
    others = compress(_PLACES, map(is_not, was, becomes))
    return {FIELDS[place]: becomes[place] for place in others if was[place] != becomes[place]}


_PLACES: Final = range(len(FIELDS))


def _assert_same_run(before: Run, run: Run) -> None:
    assert run.version > before.version, (before.version, run.version)
    assert run.seq == before.seq, (before.seq, run.seq)
    assert run.run_id == before.run_id, (before.run_id, run.run_id)
    assert run.project_id == before.project_id, (before.project_id, run.project_id)
    assert run.root_seq == before.root_seq, (before.root_seq, run.root_seq)
    assert run.path == before.path, (before.path, run.path)


def _numbered(new: Sequence[NewEvent], latest: int, sequence: int, now: int) -> list[Event]:
    """Number the new events. `latest` and `sequence` are the event id and the external sequence before them."""
    events = []
    for event in new:
        latest += 1
        if event.source in EXTERNAL_SOURCES and not event.private:  # `counted`, without a call for each event
            sequence += 1
        events.append(
            Event(
                event_id=latest,
                type=event.type,
                payload=event.payload,
                created_at=now,
                source=event.source,
                private=event.private,
                is_error=event.is_error,
                sequence=sequence,
            )
        )
    return events


def _keys(new: Sequence[NewEvent], latest: int) -> list[EventKey]:
    keys = []
    for event in new:
        latest += 1
        if event.key is not None and event.digest is not None:
            keys.append(EventKey(event.key, latest, event.digest))
    return keys
