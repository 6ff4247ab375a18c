"""What one transaction changes, kept apart until all of it is decided, then written with few statements: mostly with one.

Locks are always taken in one order, so that transactions wait for each other but never in a circle: runs by seq, then
schedules, conversations, new runs, seals, counters of families and counters of batches, each sorted. Deliveries to
webhooks are new rows of no name: they wait for nobody.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from msgspec.structs import astuple, replace

from runstead.core import limits
from runstead.core.batches.batch import Tally
from runstead.core.conversations.conversation import Conversation, StoredMessage
from runstead.core.conversations.input_request import ClosedInput, InputRequest
from runstead.core.idempotency import IdempotencyRecord
from runstead.core.runs.event import Event
from runstead.core.runs.run import Run
from runstead.core.runs.transition import NewMessage, Transition
from runstead.core.schedules.schedule import Schedule
from runstead.core.usage import rollup
from runstead.core.usage.rollup import Entry
from runstead.core.webhooks.event import event_of
from runstead.engines.postgres.batch_counts import count
from runstead.engines.postgres.commit.writes import Write, inserted, run_together, updated
from runstead.engines.postgres.connection import Connection
from runstead.engines.postgres.families import FamilyLog
from runstead.engines.postgres.messages import add_messages, delete_message, lock_live
from runstead.engines.postgres.related import add_input, close_input
from runstead.engines.postgres.rollups import note_gone
from runstead.engines.postgres.rows import flags_of, line_above, to_event, to_run
from runstead.engines.postgres.schedules import note_ends, rewrite
from runstead.engines.postgres.sql import Q
from runstead.engines.postgres.webhooks import Telling, tell
from runstead.ports.store import RunKey


class Change(NamedTuple):
    """One decision, checked, and not taken in yet."""

    old: Run | None
    new: Run
    transition: Transition


class Draft:
    def __init__(self) -> None:
        self.runs: dict[int, Run] = {}
        """The locked rows, as this transaction has left them so far."""
        self.ids: dict[RunKey, int] = {}
        self._locked: dict[int, Run] = {}
        self._events: dict[int, list[tuple[Any, ...]]] = defaultdict(list)
        self._attempts: list[tuple[Any, ...]] = []
        self._receipts: dict[tuple[int, str], bytes] = {}
        self._keys: dict[tuple[int, str], tuple[int, bytes]] = {}
        self._conversations: list[Conversation] = []
        self._messages: list[StoredMessage] = []
        self._asked: list[InputRequest] = []
        self._closed: list[ClosedInput] = []
        self._schedules: list[tuple[Schedule, Schedule]] = []
        self._ends: list[Run] = []
        self._told: list[Telling] = []
        self.unhooked: set[str] = set()
        """Projects of which it is known that they have no webhooks."""
        self._deleted: list[Run] = []
        self._entries: list[Entry] = []
        self._log = FamilyLog()
        self._tally = Tally(limits.batch_slots)
        self._idempotency_records: list[tuple[Any, ...]] = []
        self._moved: dict[int, list[int]] = defaultdict(lambda: [0, 0])

    def lock(self, rows: Iterable[Sequence[Any]]) -> list[Run]:
        """Take in rows that this transaction holds, as `{locked}` gives them."""
        runs = []
        for row in rows:
            run = to_run(row[:-1])
            self.runs[run.seq] = self._locked[run.seq] = run
            self.ids[RunKey(run.project_id, run.run_id)] = run.seq
            if row[-1]:
                self._log.familied.add(run.seq)
            runs.append(run)
        return runs

    def find(self, key: RunKey) -> Run | None:
        seq = self.ids.get(key)
        return None if seq is None else self.runs[seq]

    def stored_events(self, seq: int) -> int:
        """The number of the run's latest event before this transaction."""
        run = self._locked.get(seq)
        return 0 if run is None else run.latest_event_id

    def events_after(self, seq: int, after: int) -> list[Event]:
        """The events that this transaction adds to a run."""
        rows = self._events.get(seq, ())
        return [to_event((row[3], row[6], row[7], row[2], row[5], row[4])) for row in rows if row[3] > after]

    def receipt(self, seq: int, key: str) -> bytes | None:
        """The digest of a receipt that this transaction adds."""
        return self._receipts.get((seq, key))

    def event_key(self, seq: int, key: str) -> bytes | None:
        """The digest of an event that this transaction adds under the key."""
        added = self._keys.get((seq, key))
        return None if added is None else added[1]

    def take(self, changes: Iterable[Change], now: int) -> None:
        for old, new, transition in changes:
            if transition.deletes:
                self._deleted.append(new)
                self._count(new, transition)
            if new is old:
                continue
            self.runs[new.seq] = new
            self.ids[RunKey(new.project_id, new.run_id)] = new.seq
            self._tally.note(old, new)
            if old is None and new.parent_seq is not None:
                assert new.root_seq is not None
                self._log.first_child(self.runs[new.root_seq])
            if transition.events:
                self._add_events(old, new, transition, now)
                self._log.note(new, len(transition.events))
            if (ended := transition.ended) is not None:
                told = (ended.attempt, ended.lease_owner, ended.started_at, ended.ended_at)
                self._attempts.append((new.seq, *told, ended.outcome, ended.error))
            if (receipt := transition.receipt) is not None:
                self._receipts[new.seq, receipt.key] = receipt.digest
            if transition.message is not None:
                self._messages.append(_placeholder(transition.message, new.seq, now))
            self._take_others(transition)
            if new.schedule_id is not None and new.terminal and old is not None and not old.terminal:
                self._ends.append(new)
            if new.project_id not in self.unhooked and (event := event_of(old, new)) is not None:
                self._told.append(Telling(new, event, now))
            self._entries += rollup.ended(old, new)
            if new.path != "/" and (transition.family_total or transition.family_active):
                self._count(new, transition)

    def _take_others(self, transition: Transition) -> None:
        if transition.conversation is not None:
            self._conversations.append(transition.conversation)
        if (asked := transition.input_request) is not None and asked.seq == 0:
            self._asked.append(asked)
        if transition.closed_input is not None:
            self._closed.append(transition.closed_input)

    def take_schedule(self, old: Schedule, new: Schedule) -> None:
        """A schedule that this transaction holds, as it shall be."""
        self._schedules.append((old, new))

    def add_idempotency_record(
        self, idempotency: IdempotencyRecord, answer: tuple[int, bytes], now: int
    ) -> None:
        self._idempotency_records.append(
            (idempotency.owner, idempotency.key, idempotency.digest, *answer, now)
        )

    def _add_events(self, old: Run | None, new: Run, transition: Transition, now: int) -> None:
        event_id, sequence = (
            (0, 0) if old is None else (old.latest_event_id, old.latest_external_event_sequence)
        )
        rows = self._events[new.seq]
        for event in transition.events:
            event_id += 1
            sequence += event.counted
            row = (now, event_id, sequence, flags_of(event), event.type, event.payload)
            rows.append((new.created_at, new.seq, *row))
            if event.key is not None and event.digest is not None:
                self._keys[new.seq, event.key] = event_id, event.digest

    def _count(self, run: Run, transition: Transition) -> None:
        """Ancestors' counters move beside their versions: they are no change to the ancestor itself."""
        for seq in line_above(run.path):
            moved = self._moved[seq]
            moved[0] += transition.family_total
            moved[1] += transition.family_active
            above = self.runs.get(seq)
            if above is not None:
                self.runs[seq] = replace(
                    above,
                    descendants_total=above.descendants_total + transition.family_total,
                    descendants_active=above.descendants_active + transition.family_active,
                )

    async def write(self, connection: Connection) -> None:
        for before, after in self._schedules:
            await rewrite(connection, before, after)
        if self._ends:
            await note_ends(connection, self._ends)
        await self._write_conversations(connection)
        await self._write_runs(connection)
        if self._deleted:
            await note_gone(connection, self._deleted)
        for run in self._deleted:
            written = await connection.fetchval(Q["delete_runs"], run.seq, run.version)
            assert written == 1, f"run {run.seq} was not at version {run.version}"
        if self._told:
            await tell(connection, self._told)
        await self._log.write(connection, self._moved)
        await count(connection, self._tally)

    async def _write_runs(self, connection: Connection) -> None:
        new = [run for seq, run in self.runs.items() if seq not in self._locked]
        changed = [(old, self.runs[seq]) for seq, old in self._locked.items()]
        usual, rare = updated((old, new) for old, new in changed if new.version != old.version)
        together = [inserted(new)] if new else []
        if usual is not None:
            together.append(usual)
        if self._events:
            together.append(Write(Q["add_events"], [row for rows in self._events.values() for row in rows]))
        if self._idempotency_records:
            together.append(Write(Q["add_seals"], self._idempotency_records))
        if self._entries:
            together.append(Write(Q["add_rollup_entries"], self._entries))
        await run_together(connection, together, few=len(new) + len(changed) == 1)
        if self._log.found:
            await connection.execute(Q["found_families"], self._log.found)
        rest = {
            "add_attempts": self._attempts,
            "add_receipts": [(*name, digest) for name, digest in self._receipts.items()],
            "add_event_keys": [(*name, *told) for name, told in self._keys.items()],
        }
        for write in (*rare, *(Write(Q[query], rows) for query, rows in rest.items() if rows)):
            await write.run(connection)

    async def _write_conversations(self, connection: Connection) -> None:
        for conversation in self._conversations:
            await connection.execute(Q["add_conversation"], *astuple(conversation)[:-1])  # all but seq
        named = {message.conversation_id for message in self._messages}
        named |= {request.conversation_id for request in self._asked}
        if named:
            counts = await lock_live(connection, named)
            if self._messages:
                await add_messages(connection, self._messages, counts)
            for request in self._asked:
                await add_input(connection, request)
        for closed in self._closed:
            await close_input(connection, closed)
        for run in self._deleted:
            if run.conversation_id is not None:
                await delete_message(connection, run.conversation_id, run.seq)


def _placeholder(message: NewMessage, run_seq: int, now: int) -> StoredMessage:
    return StoredMessage(
        message.id,
        message.conversation_id,
        "assistant",
        now,
        now,
        run_seq=run_seq,
        created_by=message.created_by,
    )


def check(old: Run | None, transition: Transition, seq: int) -> Change:
    """A decision about one row, its guards held. `seq` is for a row that is not there yet."""
    new = transition.run
    if new is old:
        return Change(old, new, transition)
    latest, sequence = 0, 0
    if old is None:
        assert new.seq == 0
        new = replace(new, seq=seq, root_seq=seq if new.root_seq is None else new.root_seq)
    else:
        latest, sequence = old.latest_event_id, old.latest_external_event_sequence
        assert new.version > old.version, (old.version, new.version)
        assert (new.seq, new.project_id, new.run_id) == (old.seq, old.project_id, old.run_id)
    assert new.latest_event_id - latest == len(transition.events)
    assert new.latest_external_event_sequence - sequence == sum(event.counted for event in transition.events)
    return Change(old, new, transition)
