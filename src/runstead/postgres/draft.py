"""What one transaction changes, kept apart until all of it is decided, then written with one statement for each table.

Locks are always taken in one order, so that transactions wait for each other but never in a circle: runs by seq, then
conversations, new runs, seals and counters, each sorted.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from msgspec.structs import replace

from runstead.errors import not_found
from runstead.event import Event
from runstead.postgres.connection import Connection
from runstead.postgres.rows import columns_of, flags_of, line_above, to_event
from runstead.postgres.sql import INSERT_RUNS, MOVING, STORED, Q, update_runs
from runstead.run import Run
from runstead.seal import Seal
from runstead.store import RunKey
from runstead.transition import NewMessage, Transition

_MOVING = tuple(field for field in STORED if field in MOVING)


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
        self._messages: list[tuple[NewMessage, int, int]] = []
        self._seals: list[tuple[Any, ...]] = []
        self._moved: dict[int, list[int]] = defaultdict(lambda: [0, 0])

    def lock(self, runs: Iterable[Run]) -> None:
        """Take in rows that this transaction holds."""
        for run in runs:
            self.runs[run.seq] = self._locked[run.seq] = run
            self.ids[RunKey(run.project_id, run.run_id)] = run.seq

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

    def take(self, changes: Iterable[Change], now: int) -> None:
        for old, new, transition in changes:
            if new is old:
                continue
            self.runs[new.seq] = new
            self.ids[RunKey(new.project_id, new.run_id)] = new.seq
            if transition.events:
                self._add_events(old, new, transition, now)
            if (ended := transition.ended) is not None:
                told = (ended.attempt, ended.lease_owner, ended.started_at, ended.ended_at)
                self._attempts.append((new.seq, *told, ended.outcome, ended.error))
            if (receipt := transition.receipt) is not None:
                self._receipts[new.seq, receipt.key] = receipt.digest
            if transition.message is not None:
                self._messages.append((transition.message, new.seq, now))
            if new.path != "/" and (transition.family_total or transition.family_active):
                self._count(new, transition)

    def take_seal(self, seal: Seal, answer: tuple[int, bytes], now: int) -> None:
        self._seals.append((seal.owner, seal.key, seal.digest, *answer, now))

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
        if self._messages:
            await self._write_messages(connection)
        new = [run for seq, run in self.runs.items() if seq not in self._locked]
        if new:
            rows = [[getattr(run, field) for field in STORED] for run in new]
            await connection.execute(INSERT_RUNS, *columns_of(rows))
        await self._write_changed(connection)
        added = {
            "add_events": [row for rows in self._events.values() for row in rows],
            "add_attempts": self._attempts,
            "add_receipts": [(*name, digest) for name, digest in self._receipts.items()],
            "add_seals": self._seals,
            "count_families": [(seq, *moved) for seq, moved in self._moved.items() if any(moved)],
        }
        for query, values in added.items():
            if values:
                await connection.execute(Q[query], *columns_of(values))

    async def _write_changed(self, connection: Connection) -> None:
        """What differs, guarded by the versions that were read. Rows that change the same columns go together."""
        groups: dict[tuple[str, ...], list[tuple[Run, Run]]] = defaultdict(list)
        for seq, old in self._locked.items():
            new = self.runs[seq]
            if new.version != old.version:
                groups[_changed(old, new)].append((old, new))
        for columns, pairs in groups.items():
            rows = [
                (old.seq, old.version, *(getattr(new, column) for column in columns)) for old, new in pairs
            ]
            written = await connection.execute(update_runs(columns), *columns_of(rows))
            assert written == f"UPDATE {len(rows)}", (written, len(rows))

    async def _write_messages(self, connection: Connection) -> None:
        ids = sorted({message.conversation_id for message, _, _ in self._messages})
        counts = dict(await connection.fetch(Q["lock_conversations"], ids))
        rows, at = [], {}
        for message, run_seq, now in self._messages:
            conversation = message.conversation_id
            if conversation not in counts:
                raise not_found("Conversation")
            counts[conversation] += 1
            at[conversation] = now
            rows.append((conversation, counts[conversation], message.id, run_seq, message.created_by, now))
        moved = [(conversation, counts[conversation], now) for conversation, now in at.items()]
        await connection.execute(Q["count_messages"], *columns_of(moved))
        await connection.execute(Q["add_messages"], *columns_of(rows))


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


def _changed(old: Run, new: Run) -> tuple[str, ...]:
    """The columns to write: what moves nearly always, and what else differs."""
    others: Sequence[str] = [
        field
        for field in STORED
        if field not in MOVING
        and (was := getattr(old, field)) is not (becomes := getattr(new, field))
        and was != becomes
    ]
    return (*_MOVING, *others)
