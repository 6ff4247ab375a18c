"""What one command changes, kept apart until all of it is decided: the store's guards stand here."""

from collections import defaultdict

from msgspec.structs import replace

from runstead.core.batches.batch import Batch, Tally, counted
from runstead.core.conversations.conversation import Conversation, StoredMessage
from runstead.core.conversations.input_request import ClosedInput, InputRequest
from runstead.core.runs import transitions
from runstead.core.runs.event import Event, NewEvent
from runstead.core.runs.run import Run
from runstead.core.runs.transition import EndedAttempt, Receipt, Transition
from runstead.core.schedules import schedule as schedules
from runstead.core.schedules.schedule import Schedule
from runstead.core.webhooks import event as webhook_event
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
        self._receipts: list[tuple[int, Receipt]] = []
        self._places: list[tuple[int, Place]] = []
        self._keys: list[tuple[int, str, bytes]] = []
        self._deleted: list[Run] = []
        self._messages: list[StoredMessage] = []
        self._conversations: dict[str, Conversation] = {}
        self._schedules: dict[str, Schedule] = {}
        self._batches: dict[str, Batch] = {}
        self._tally = Tally()
        self._removed: list[str] = []
        self._asked: list[InputRequest] = []
        self._deliveries: list[Delivery] = []
        self._closed: list[ClosedInput] = []
        self._written: list[tuple[int, Transition, list[int], Run | None]] = []

    def run(self, seq: int) -> Run:
        """The row as this command has left it so far."""
        return self._runs.get(seq) or self._rows.runs[seq]

    def write(self, old: Run | None, transition: Transition) -> None:
        """Take in a decision about one run, the end of its family included."""
        new = transition.run
        if transition.deletes:
            assert new is old
            self._deleted.append(new)
            self._count(new, transition)
        if new is old:
            self._written.append((new.seq, transition, [], old))
            return
        if old is None:
            self._created += 1
            seq = self._rows.latest_seq + self._created
            new = replace(new, seq=seq, root_seq=seq if new.root_seq is None else new.root_seq)
        self._put(old, new, transition)
        cancelled = self._cancel_family(new) if transition.cancels_family else []
        self._written.append((new.seq, transition, cancelled, old))

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
            Written(self.run(seq), transition, tuple(map(self.run, cancelled)), before)
            for seq, transition, cancelled, before in self._written
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
            rows.receipts[seq, receipt.key] = receipt
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
        for request in self._asked:
            rows.inputs[request.id] = replace(request, seq=len(rows.inputs) + 1)
        for closed in self._closed:
            rows.inputs[closed.id] = closed.applied(rows.inputs[closed.id])
        for seq, key, digest in self._keys:
            rows.event_keys[seq][key] = digest
        for delivery in self._deliveries:
            rows.add_delivery(delivery)
        for run in self._deleted:
            rows.remove(run)

    def _put(self, old: Run | None, new: Run, transition: Transition) -> None:
        _guard(old, new, transition.events)
        self._runs[new.seq] = new
        self._tally.note(old, new)
        stored = _numbered(old, transition.events, self._now)
        self._events[new.seq] += stored
        self._places += [(new.root_seq or new.seq, (new.seq, event.event_id)) for event in stored]
        for event in transition.events:
            if event.key is not None and event.digest is not None:
                self._keys.append((new.seq, event.key, event.digest))
        if transition.ended is not None:
            self._attempts.append((new.seq, transition.ended))
        if transition.receipt is not None:
            self._receipts.append((new.seq, transition.receipt))
        if transition.conversation is not None:
            number = len(self._rows.conversations) + 1  # a command makes one at most
            made = replace(transition.conversation, seq=number)
            self._conversations[made.id] = made
        if (message := transition.message) is not None:
            where = message.conversation_id
            if where not in self._conversations:
                self._rows.live(where)
            times = (self._now, self._now)
            self._messages.append(
                StoredMessage(
                    message.id, where, "assistant", *times, run_seq=new.seq, created_by=message.created_by
                )
            )
        if transition.input_request is not None and transition.input_request.seq == 0:
            self._rows.live(transition.input_request.conversation_id)
            self._asked.append(transition.input_request)
        if transition.closed_input is not None:
            assert self._rows.inputs[transition.closed_input.id].status == "open"
            self._closed.append(transition.closed_input)
        if transition.schedule is not None:
            self._rewrite(transition.schedule)
        if new.schedule_id is not None and new.terminal and old is not None and not old.terminal:
            self._note_end(new)
        if (told := webhook_event.event_of(old, new)) is not None:
            hooks = [one for one in self._rows.webhooks.values() if one.project_id == new.project_id]
            self._deliveries += webhook_event.deliveries(new, told, hooks, self._now)
        if transition.family_total or transition.family_active:
            self._count(new, transition)

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

    def _count(self, run: Run, transition: Transition) -> None:
        """Ancestors' counters move beside their versions: they are no change to the ancestor itself."""
        for seq in map(int, run.path.strip("/").split("/") if run.path != "/" else ()):
            above = self.run(seq)
            self._runs[seq] = replace(
                above,
                descendants_total=above.descendants_total + transition.family_total,
                descendants_active=above.descendants_active + transition.family_active,
            )

    def _cancel_family(self, run: Run) -> list[int]:
        assert run.root_seq is not None
        step = f"/{run.seq}/"
        below = [member.seq for member in self._rows.family(run.root_seq) if step in member.path]
        cancelled = [seq for seq in below if not self.run(seq).terminal]
        for seq in cancelled:
            member = self.run(seq)
            transition = transitions.cancel(member, now=self._now, reason=run.cancel_reason)
            self._put(member, transition.run, transition)
        return cancelled


def _guard(old: Run | None, new: Run, events: tuple[NewEvent, ...]) -> None:
    latest, sequence = 0, 0
    if old is not None:
        latest, sequence = old.latest_event_id, old.latest_external_event_sequence
        assert new.version > old.version, (old.version, new.version)
        assert (new.seq, new.project_id, new.run_id) == (old.seq, old.project_id, old.run_id)
        assert (new.path, new.root_seq) == (old.path, old.root_seq)
    assert new.latest_event_id - latest == len(events), (latest, new.latest_event_id, len(events))
    assert new.latest_external_event_sequence - sequence == sum(event.counted for event in events)


def _numbered(old: Run | None, events: tuple[NewEvent, ...], now: int) -> list[Event]:
    latest, sequence = (0, 0) if old is None else (old.latest_event_id, old.latest_external_event_sequence)
    numbered = []
    for number, event in enumerate(events, latest + 1):
        sequence += event.counted
        numbered.append(
            Event(
                event_id=number,
                type=event.type,
                payload=event.payload,
                created_at=now,
                external=event.external,
                private=event.private,
                is_error=event.is_error,
                sequence=sequence,
            )
        )
    return numbered
