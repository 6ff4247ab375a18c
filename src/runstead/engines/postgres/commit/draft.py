"""The changes of one transaction: collected until all commands are decided, then written with few statements, mostly one.

All transactions take locks in one order, so they never deadlock: runs by seq, then schedules, conversations, keyed
targets, new runs, idempotency records, family counters, batch counters and artifact bytes, each sorted. Webhook
deliveries and audit entries are new rows without a unique name: they wait for no other transaction.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec.structs import astuple, replace

from runstead.core import limits
from runstead.core.audit import AuditEntry
from runstead.core.batches.batch import Tally
from runstead.core.conversations.conversation import Conversation, StoredMessage
from runstead.core.conversations.input_request import ClosedInput, InputRequest
from runstead.core.idempotency import IdempotencyRecord
from runstead.core.runs.compensation import Compensation
from runstead.core.runs.event import Event
from runstead.core.runs.run import Run, RunStatus
from runstead.core.runs.signal import Signal
from runstead.core.runs.values import RunValue
from runstead.core.runs.write_set import WriteSet
from runstead.core.schedules.schedule import Schedule
from runstead.core.usage.rollup import Entry
from runstead.engines.postgres import session_limits
from runstead.engines.postgres.batch_counts import count
from runstead.engines.postgres.commit.budgets import write_budgets
from runstead.engines.postgres.commit.writes import Write, inserted, run_together, updated
from runstead.engines.postgres.compensations import created_by
from runstead.engines.postgres.connection import Connection
from runstead.engines.postgres.families import FamilyLog
from runstead.engines.postgres.messages import add_messages, delete_message, lock_live
from runstead.engines.postgres.related import (
    RunEvent,
    add_audit_entries,
    add_conversation,
    add_deliveries,
    add_input,
    add_keyed_targets,
    close_input,
    count_artifact_bytes,
    erase_secrets,
    move_event_waits,
    record_schedule_ends,
    rewrite_schedule,
)
from runstead.engines.postgres.rollups import note_gone
from runstead.engines.postgres.rows import to_run
from runstead.engines.postgres.sql import Q
from runstead.engines.sql.run_rows import event_row
from runstead.ports.store import RunKey


class Draft:
    def __init__(self) -> None:
        self.runs: dict[int, Run] = {}
        """The locked rows, with the changes of this transaction so far."""
        self.ids: dict[RunKey, int] = {}
        self._locked: dict[int, Run] = {}
        self._events: dict[int, list[Event]] = defaultdict(list)
        self._attempts: list[tuple[Any, ...]] = []
        self._receipts: dict[tuple[int, str], bytes] = {}
        self._keys: dict[tuple[int, str], tuple[int, bytes]] = {}
        self._values: dict[tuple[int, str], RunValue] = {}
        self._signals: dict[int, dict[int, Signal]] = defaultdict(dict)
        self._held_contents: list[tuple[int, str]] = []
        self._rewaiting: set[int] = set()
        self._compensations: list[tuple[int, Compensation]] = []  # with the seqs of their runs
        self._with_compensations: list[WriteSet] = []  # ends of runs that have some
        self.settled: dict[int, list[Run]] = defaultdict(list)
        """Run → the compensations that were created or queued by its end, once the draft is written."""
        self._conversations: list[Conversation] = []
        self._messages: list[StoredMessage] = []
        self._opened: list[InputRequest] = []
        self._closed: list[ClosedInput] = []
        self._without_secrets: list[int] = []
        self._schedules: list[tuple[Schedule, Schedule]] = []
        self._keyed_targets: set[tuple[str, str]] = set()
        self._ends: list[Run] = []
        self._run_events: list[RunEvent] = []
        self.unhooked: set[str] = set()
        """Projects that are known to have no webhooks."""
        self._deleted: list[Run] = []
        self._entries: list[Entry] = []
        self._log = FamilyLog()
        self._tally = Tally(limits.batch_slots)
        self._idempotency_records: list[tuple[Any, ...]] = []
        self._audit_entries: list[AuditEntry] = []
        self._artifact_bytes: dict[str, int] = {}
        self._budget_writes: list[WriteSet] = []
        self._moved: dict[int, list[int]] = defaultdict(lambda: [0, 0])

    def lock(self, rows: Iterable[Sequence[Any]]) -> list[Run]:
        """Add rows that this transaction has locked, in the columns of `{locked}`."""
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
        return [event for event in self._events.get(seq, ()) if event.event_id > after]

    def receipt(self, seq: int, key: str) -> bytes | None:
        """The digest of a receipt that this transaction adds."""
        return self._receipts.get((seq, key))

    def event_key(self, seq: int, key: str) -> bytes | None:
        """The digest of an event that this transaction adds under the key."""
        added = self._keys.get((seq, key))
        return None if added is None else added[1]

    def value_names(self, seq: int) -> list[str]:
        """The names of the values that this transaction sets on a run."""
        return [name for run_seq, name in self._values if run_seq == seq]

    def signals(self, seq: int) -> Mapping[int, Signal]:
        """Number → signal of a run that this transaction adds or takes."""
        return self._signals.get(seq, {})

    def added_compensations(self, seq: int) -> list[Compensation]:
        """The compensations that this transaction adds to a run."""
        return [each for run_seq, each in self._compensations if run_seq == seq]

    def _take_compensations(self, write: WriteSet) -> None:
        if write.compensation is not None:
            self._compensations.append((write.run.seq, write.compensation))
        if write.ends_compensations:
            self._with_compensations.append(write)

    def take_released(self, ended: int, write: WriteSet) -> None:
        """Queue a compensation because the run `ended` ends."""
        self.take([write])
        self.settled[ended].append(write.run)

    def take(self, writes: Iterable[WriteSet]) -> None:
        for write in writes:
            if write.transition.audit is not None:
                self._audit_entries += write.audit_entries
            if write.deletes:
                self._deleted.append(write.run)
            elif not write.unchanged:
                self._take(write)
            if change := write.artifact_bytes:
                known = self._artifact_bytes.get(write.run.project_id, 0)
                self._artifact_bytes[write.run.project_id] = known + change
            self._count(write)

    def _take(self, write: WriteSet) -> None:
        run = write.run
        self.runs[run.seq] = run
        self.ids[RunKey(run.project_id, run.run_id)] = run.seq
        # A root that is not locked has a family: its descendant got a compensation.
        if write.joins_family and run.root_seq in self.runs:
            self._log.first_child(self.runs[run.root_seq])
        if write.events:
            self._events[run.seq] += write.events
            self._log.note(run, len(write.events))
            for key, event_id, digest in write.event_keys:
                self._keys[run.seq, key] = event_id, digest
        self._take_beside(write)
        self._take_conversation(write)
        if write.batch_move is not None:
            self._tally.add(write.batch_move)
        if write.keyed_target is not None:
            self._keyed_targets.add((run.project_id, write.keyed_target))
        if write.ends_schedule_run:
            self._ends.append(run)
        if write.webhook_event is not None and run.project_id not in self.unhooked:
            self._run_events.append(RunEvent(run, write.webhook_event, write.now))
        self._entries += write.rollup_entries

    def _take_beside(self, write: WriteSet) -> None:
        """Take what a run has in other tables than its events."""
        run = write.run
        if write.ended_attempt is not None:
            self._attempts.append((run.seq, *astuple(write.ended_attempt)))
        if write.receipt is not None:
            self._receipts.setdefault((run.seq, write.receipt.key), write.receipt.digest)
        for value in write.values:
            self._values[run.seq, value.name] = value
        if write.signal is not None:
            self._signals[run.seq][write.signal.number] = write.signal
        self._held_contents += [(run.seq, uid) for uid in write.held_contents]
        if write.moves_event_waits:
            self._rewaiting.add(run.seq)

    def _take_conversation(self, write: WriteSet) -> None:
        if write.changes_budgets:
            self._budget_writes.append(write)
        if write.changes_compensations:
            self._take_compensations(write)
        if write.conversation is not None:
            self._conversations.append(write.conversation)
        if write.message is not None:
            self._messages.append(write.message)
        if write.opened_input is not None:
            self._opened.append(write.opened_input)
        if write.closed_input is not None:
            self._closed.append(write.closed_input)
        if write.erases_secrets:
            self._without_secrets.append(write.run.seq)

    def take_schedule(self, old: Schedule, new: Schedule) -> None:
        """Change a schedule that this transaction has locked."""
        self._schedules.append((old, new))

    def add_idempotency_record(
        self, idempotency: IdempotencyRecord, answer: tuple[int, bytes], now: int
    ) -> None:
        self._idempotency_records.append(
            (idempotency.owner, idempotency.key, idempotency.digest, *answer, now)
        )

    def _count(self, write: WriteSet) -> None:
        """Ancestors' counters move beside their versions: they are no change to the ancestor itself."""
        for seq in write.ancestors:
            moved = self._moved[seq]
            moved[0] += write.family_total
            moved[1] += write.family_active
            ancestor = self.runs.get(seq)
            if ancestor is not None:
                self.runs[seq] = replace(
                    ancestor,
                    descendants_total=ancestor.descendants_total + write.family_total,
                    descendants_active=ancestor.descendants_active + write.family_active,
                )

    async def _settle_compensations(self, connection: Connection) -> None:
        """Create the compensations of runs that end here, or drop them."""
        ended = {write.run.seq for write in self._with_compensations}
        added = [each for each in self._compensations if each[0] in ended]
        self._compensations = [each for each in self._compensations if each[0] not in ended]
        failed = [write for write in self._with_compensations if write.run.status is not RunStatus.COMPLETED]
        dropped = ended.difference(write.run.seq for write in failed)
        if dropped:
            await connection.execute(Q["drop_compensations"], list(dropped))
        if failed:
            for parent, compensation, write in await created_by(connection, failed, added):
                self.take([write])
                self._compensations.append((parent, compensation))
                self.settled[parent].append(write.run)

    async def write(self, connection: Connection) -> None:
        if self._with_compensations:
            await self._settle_compensations(connection)
        for before, after in self._schedules:
            await rewrite_schedule(connection, before, after)
        if self._ends:
            await record_schedule_ends(connection, self._ends)
        await self._write_conversations(connection)
        if self._keyed_targets:
            await add_keyed_targets(connection, self._keyed_targets)
        await self._write_runs(connection)
        if self._deleted:
            await note_gone(connection, self._deleted)
        for run in self._deleted:
            written = await connection.fetchval(Q["delete_runs"], run.seq, run.version)
            assert written == 1, f"run {run.seq} was not at version {run.version}"
        if self._budget_writes:
            await write_budgets(connection, self._budget_writes)
        if self._run_events:
            await add_deliveries(connection, self._run_events)
        if self._audit_entries:
            await add_audit_entries(connection, self._audit_entries)
        if self._rewaiting:
            await move_event_waits(connection, [self.runs[seq] for seq in sorted(self._rewaiting)])
        await self._log.write(connection, self._moved)
        await count(connection, self._tally)
        if self._artifact_bytes:
            await count_artifact_bytes(connection, self._artifact_bytes)

    async def _write_runs(self, connection: Connection) -> None:
        new = [run for seq, run in self.runs.items() if seq not in self._locked]
        changed = [(old, self.runs[seq]) for seq, old in self._locked.items()]
        if len(new) > session_limits.insert_rows_max:
            # Sending many rows holds the event loop. They are in the order of one statement, so that locks are too.
            new.sort(key=lambda run: (run.run_id, run.project_id))
            while len(new) > session_limits.insert_rows_max:
                part, new = new[: session_limits.insert_rows_max], new[session_limits.insert_rows_max :]
                await inserted(part).run(connection)
        usual, rare = updated((old, new) for old, new in changed if new.version != old.version)
        together = [inserted(new)] if new else []
        if usual is not None:
            together.append(usual)
        if self._events:
            together.append(Write(Q["add_events"], self._event_rows()))
        if self._idempotency_records:
            together.append(Write(Q["add_idempotency_records"], self._idempotency_records))
        if self._entries:
            together.append(Write(Q["add_rollup_entries"], self._entries))
        await run_together(connection, together, few=len(new) + len(changed) == 1)
        if self._log.new_families:
            await connection.execute(Q["mark_families"], self._log.new_families)
        rest = {
            "add_attempts": self._attempts,
            "add_receipts": [(*name, digest) for name, digest in self._receipts.items()],
            "add_event_keys": [(*name, *event) for name, event in self._keys.items()],
            "store_signals": [
                (seq, *astuple(signal))
                for seq, signals in self._signals.items()
                for signal in signals.values()
            ],
            "hold_contents": self._held_contents,
            "store_compensations": [(seq, *astuple(each)) for seq, each in self._compensations],
            "set_values": [(seq, *astuple(value)) for (seq, _), value in self._values.items()],
        }
        for write in (*rare, *(Write(Q[query], rows) for query, rows in rest.items() if rows)):
            await write.run(connection)

    def _event_rows(self) -> list[tuple[Any, ...]]:
        """In the order of the arguments of `add_events`."""
        rows: list[tuple[Any, ...]] = []
        for seq, events in self._events.items():
            run_created_at = self.runs[seq].created_at
            rows += [(run_created_at, seq, *event_row(event)) for event in events]
        return rows

    async def _write_conversations(self, connection: Connection) -> None:
        for conversation in self._conversations:
            await add_conversation(connection, conversation)
        named = {message.conversation_id for message in self._messages}
        named |= {request.conversation_id for request in self._opened}
        if named:
            counts = await lock_live(connection, named)
            if self._messages:
                await add_messages(connection, self._messages, counts)
            for request in self._opened:
                await add_input(connection, request)
        for closed in self._closed:
            await close_input(connection, closed)
        if self._without_secrets:
            await erase_secrets(connection, self._without_secrets)
        for run in self._deleted:
            if run.conversation_id is not None:
                await delete_message(connection, run.conversation_id, run.seq)
