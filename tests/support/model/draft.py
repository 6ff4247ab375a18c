"""What one command changes, kept apart until all of it is decided: the store's guards stand here."""

from collections import defaultdict

from msgspec.structs import replace

from runstead.core.batches.batch import Batch, Tally, counted
from runstead.core.conversations.conversation import Conversation, StoredMessage
from runstead.core.conversations.input_request import ClosedInput, InputRequest
from runstead.core.runs.compensation import Compensation
from runstead.core.runs.event import Event
from runstead.core.runs.run import Run
from runstead.core.runs.signal import Signal
from runstead.core.runs.transition import EndedAttempt, Receipt, Transition
from runstead.core.runs.values import RunValue
from runstead.core.runs.write_set import (
    WriteSet,
    cancel_descendants,
    compensate,
    release_next,
    write_set,
)
from runstead.core.schedules import schedule as schedules
from runstead.core.schedules.schedule import Schedule
from runstead.core.webhooks.event import deliveries
from runstead.core.webhooks.webhook import Delivery
from runstead.ports.store import Written
from tests.support.model.rows import Place, Rows


class Draft:
    def __init__(self, rows: Rows, now: int) -> None:
        self._rows = rows
        self._now = now
        self._runs: dict[int, Run] = {}
        self._created = 0
        self._events: dict[int, list[Event]] = defaultdict(list)
        self._attempts: list[tuple[int, EndedAttempt]] = []
        self._signals: list[tuple[int, Signal]] = []
        self._receipts: list[tuple[int, Receipt]] = []
        self._compensations: dict[int, dict[int, Compensation]] = {}  # those of runs where they changed
        self._settled: list[Run] = []  # by the write under way
        self._places: list[tuple[int, Place]] = []
        self._values: list[tuple[int, RunValue]] = []
        self._keys: list[tuple[int, str, bytes]] = []
        self._deleted: list[Run] = []
        self._messages: list[StoredMessage] = []
        self._conversations: dict[str, Conversation] = {}
        self._schedules: dict[str, Schedule] = {}
        self._batches: dict[str, Batch] = {}
        self._tally = Tally()
        self._removed: list[str] = []
        self._opened: list[InputRequest] = []
        self._deliveries: list[Delivery] = []
        self._closed: list[ClosedInput] = []
        self._without_secrets: list[int] = []
        self._written: list[tuple[int, Transition, list[int], Run | None, list[Run]]] = []

    def run(self, seq: int) -> Run:
        """The row as this command has left it so far."""
        return self._runs.get(seq) or self._rows.runs[seq]

    def write(self, old: Run | None, transition: Transition) -> None:
        """Take in a decision about one run, the end of its family included."""
        seq = 0
        if old is None:
            self._created += 1
            seq = self._rows.latest_seq + self._created
        write = write_set(old, transition, self._now, seq)
        if write.deletes:
            self._deleted.append(write.run)
            self._count(write)
        elif not write.unchanged:
            self._put(write)
        cancelled = self._cancel_family(write) if write.cancels_family else []
        self._written.append((write.run.seq, transition, cancelled, old, self._settled))
        self._settled = []

    def add_batch(self, batch: Batch) -> None:
        self._batches[batch.id] = batch

    def batch(self, batch_id: str) -> Batch | None:
        """As this command leaves it."""
        found = self._batches.get(batch_id) or self._rows.batches.get(batch_id)
        for (project_id, name, _), moved in self._tally.moved.items():
            if found is not None and (project_id, name) == (found.project_id, found.id):
                return counted(found, moved)
        return found

    def write_schedule(self, old: Schedule, new: Schedule | None) -> None:
        """A schedule as it shall be; None: it goes."""
        if new is None:
            self._removed.append(old.id)
        else:
            self._rewrite(new)

    def results(self) -> list[Written]:
        """One for each write, in order; the rows as the whole command leaves them."""
        return [
            Written(self.run(seq), transition, tuple(map(self.run, cancelled)), before, tuple(settled))
            for seq, transition, cancelled, before, settled in self._written
        ]

    def commit(self) -> None:
        rows = self._rows
        for run in self._runs.values():
            rows.put(run)
        for seq, events in self._events.items():
            rows.events[seq].extend(events)
        for root_seq, place in self._places:
            rows.family_logs[root_seq].append(place)
        for seq, ended in self._attempts:
            rows.attempts[seq].append(ended)
        for seq, receipt in self._receipts:
            rows.receipts.setdefault((seq, receipt.key), receipt)
        rows.conversations.update(self._conversations)
        rows.schedules.update(self._schedules)
        touched = [
            self.batch(name) for name in {**self._batches, **{place[1]: None for place in self._tally.moved}}
        ]
        rows.batches.update({batch.id: batch for batch in touched if batch is not None})
        for schedule_id in self._removed:
            del rows.schedules[schedule_id]
        for message in self._messages:
            rows.add_message(message, self._now)
        for request in self._opened:
            rows.inputs[request.id] = replace(request, seq=len(rows.inputs) + 1)
        for closed in self._closed:
            rows.close_input(closed)
        for seq in self._without_secrets:
            rows.erase_secrets(seq)
        for seq, key, digest in self._keys:
            rows.event_keys[seq][key] = digest
        for seq, value in self._values:
            rows.values[seq][value.name] = value
        rows.compensations.update(self._compensations)
        for seq, signal in self._signals:
            rows.signals[seq][signal.number] = signal
        for delivery in self._deliveries:
            rows.add_delivery(delivery)
        for run in self._deleted:
            rows.remove(run)

    def _put(self, write: WriteSet) -> None:
        run = write.run
        self._runs[run.seq] = run
        if write.batch_move is not None:
            self._tally.add(write.batch_move)
        self._events[run.seq] += write.events
        self._places += [(run.root_seq or run.seq, (run.seq, event.event_id)) for event in write.events]
        self._values += [(run.seq, value) for value in write.values]
        self._keys += [(run.seq, name.key, name.digest) for name in write.event_keys]
        if write.ended_attempt is not None:
            self._attempts.append((run.seq, write.ended_attempt))
        if write.receipt is not None:
            self._receipts.append((run.seq, write.receipt))
        if write.signal is not None:
            self._signals.append((run.seq, write.signal))
        if write.conversation is not None:
            number = len(self._rows.conversations) + 1  # a command makes one at most
            made = replace(write.conversation, seq=number)
            self._conversations[made.id] = made
        if write.message is not None:
            if write.message.conversation_id not in self._conversations:
                self._rows.live(write.message.conversation_id)
            self._messages.append(write.message)
        if write.opened_input is not None:
            self._rows.live(write.opened_input.conversation_id)
            self._opened.append(write.opened_input)
        if write.closed_input is not None:
            assert self._rows.inputs[write.closed_input.id].status == "open"
            self._closed.append(write.closed_input)
        if write.erases_secrets:
            self._without_secrets.append(run.seq)
        if write.schedule is not None:
            self._rewrite(write.schedule)
        if write.ends_schedule_run:
            self._note_end(run)
        if write.webhook_event is not None:
            hooks = [one for one in self._rows.webhooks.values() if one.project_id == run.project_id]
            self._deliveries += deliveries(run, write.webhook_event, hooks, self._now)
        self._count(write)
        self._settle(write)

    def _settle(self, write: WriteSet) -> None:
        """Keep, create, drop or queue compensations."""
        run, parent = write.run, write.run.parent_seq
        found = dict(self._compensations.get(run.seq) or self._rows.compensations.get(run.seq, {}))
        if write.compensation is not None:
            self._compensations[run.seq] = found | {write.compensation.number: write.compensation}
        if write.ends_compensations:
            first = self._rows.latest_seq + self._created + 1
            created = compensate(write, list(found.values()), range(first, first + len(found)))
            self._created += len(created)
            self._compensations[run.seq] = {one.number: one for one, _ in created}
            for _, each in created:
                self._put(each)
                self._settled.append(each.run)
        if write.ends_compensation and parent is not None:
            chain = self._compensations.get(parent) or self._rows.compensations[parent]
            line = [
                self.run(one.child_seq) for _, one in sorted(chain.items(), reverse=True) if one.child_seq
            ]
            released = release_next(write, next((one for one in line if not one.terminal), None))
            if released is not None:
                self._put(released)
                self._settled.append(released.run)

    def _rewrite(self, new: Schedule) -> None:
        old = self._schedule(new.id)
        assert old is not None
        assert new.version > old.version, (old.version, new.version)
        self._schedules[new.id] = new

    def _schedule(self, schedule_id: str) -> Schedule | None:
        return self._schedules.get(schedule_id) or self._rows.schedules.get(schedule_id)

    def _note_end(self, run: Run) -> None:
        """Tell the schedule of a run that has just ended how it went."""
        old = self._schedule(run.schedule_id or "")
        if old is not None and old.project_id == run.project_id:
            new = schedules.ended(old, run)
            if new is not old:
                self._rewrite(new)

    def _count(self, write: WriteSet) -> None:
        """Ancestors' counters move beside their versions: they are no change to the ancestor itself."""
        for seq in write.ancestors:
            ancestor = self.run(seq)
            self._runs[seq] = replace(
                ancestor,
                descendants_total=ancestor.descendants_total + write.family_total,
                descendants_active=ancestor.descendants_active + write.family_active,
            )

    def _cancel_family(self, write: WriteSet) -> list[int]:
        assert write.run.root_seq is not None
        step = f"/{write.run.seq}/"
        members = [member for member in self._rows.family(write.run.root_seq) if step in member.path]
        cancelled = []
        for member in members:  # one by one: each moves the counters of those that are cancelled after it
            for each in cancel_descendants(write, [self.run(member.seq)]):
                self._put(each)
                cancelled.append(each.run.seq)
        return cancelled
