"""The commands of one transaction: each is decided on the rows that the earlier ones left, then all are written at once."""

import asyncio
from collections import defaultdict, deque
from collections.abc import Collection, Sequence
from typing import Final, NamedTuple

import asyncpg
from msgspec.structs import replace

from runstead.core import limits
from runstead.core.batches.batch import Batch
from runstead.core.errors import Error, not_found
from runstead.core.idempotency import IdempotencyRecord
from runstead.core.queue.push_service import PushService, choose
from runstead.core.runs.compensation import RegisteredCompensations
from runstead.core.runs.event import Event
from runstead.core.runs.run import Run, RunStatus, in_queue
from runstead.core.runs.signal import FoundSignals
from runstead.core.runs.transition import NOTHING_ELSE, ROW_ALONE, Decide, Loaded, Receipt, Want
from runstead.core.runs.write_set import WriteSet, cancel_descendants, write_set
from runstead.core.schedules.schedule import Schedule
from runstead.engines.postgres import session_limits
from runstead.engines.postgres.batch_counts import load_batch
from runstead.engines.postgres.claims import first_claim_sql
from runstead.engines.postgres.commit.budgets import Ledgers, lock_budgets
from runstead.engines.postgres.commit.draft import Draft
from runstead.engines.postgres.commit.lanes import ALONE, LOCKED, Outcome
from runstead.engines.postgres.commit.queues import ClaimQueues, claimed_rows
from runstead.engines.postgres.commit.settled import counted, lock_next, release_after, with_settled
from runstead.engines.postgres.commit.transaction import Transaction
from runstead.engines.postgres.compensations import registered_compensations
from runstead.engines.postgres.connection import BROKEN
from runstead.engines.postgres.idempotency import IdempotencyRecords
from runstead.engines.postgres.keys import KeyHolders, lock_keys
from runstead.engines.postgres.related import (
    load_input,
    lock_schedules,
    services_reaching,
)
from runstead.engines.postgres.signals import found_signals
from runstead.engines.postgres.sql import Q
from runstead.engines.sql.budgets import held_back
from runstead.engines.sql.queue_partitions import partitions
from runstead.engines.sql.run_rows import to_event
from runstead.ports.store import ClaimRequest, DecideOne, RunKey, Written


class Apply(NamedTuple):
    key: RunKey
    decide: Decide
    want: Want
    idempotency: IdempotencyRecord | None

    @property
    def project_id(self) -> str:
        return self.key.project_id

    @property
    def lane(self) -> RunKey:
        """The run for which it would wait: creating a child locks its ancestors."""
        parent = self.want.parent_run_id
        return self.key if parent is None else RunKey(self.key.project_id, parent)

    @property
    def is_rare(self) -> bool:
        """Whether it needs rows that a group neither locks together nor tracks."""
        want = self.want
        return want is not NOTHING_ELSE and (
            want.schedule_id is not None
            or want.input_request_id is not None
            or want.input_call is not None
            or want.keys is not None
            or want.source_run_id is not None
        )


class Claim(NamedTuple):
    query: ClaimRequest
    decide: DecideOne
    idempotency: IdempotencyRecord | None

    @property
    def is_rare(self) -> bool:
        return False

    @property
    def project_id(self) -> str:
        return self.query.project_id

    @property
    def lane(self) -> RunKey:
        return RunKey(self.query.project_id, "")


async def decide_group(
    transaction: Transaction, commands: Sequence[Apply | Claim], *, alone: bool, waits: bool
) -> list[Outcome]:
    """See `lanes.Decider`."""
    group = _CommitGroup(transaction, alone=alone, waits=waits)
    await group.load(commands)
    outcomes: list[Outcome] = []
    for command in commands:
        try:
            outcomes.append(await group.decide(command))
        except BROKEN:
            raise
        except Exception as refusal:  # noqa: BLE001 - decided before anything was written: it fails alone
            outcomes.append((None, refusal))
    await group.draft.write(transaction.connection)
    return await group.finish(outcomes)


async def apply_all(transaction: Transaction, commands: Sequence[Apply]) -> tuple[list[Written], Draft]:
    """The result of each command, and the draft with all changes. Raises the first refusal."""
    group = _CommitGroup(transaction, alone=True, waits=True)
    await group.load(commands)
    written = []
    for number, command in enumerate(commands, 1):
        written.append((await group.decide(command))[0])
        if not number % limits.batch_piece_rows:
            await asyncio.sleep(0)  # other requests continue
    return written, group.draft


_LOAD_FREE: Final = Q["load"].replace("FOR UPDATE OF runs", "FOR UPDATE OF runs SKIP LOCKED")
"""`load` without the runs that other transactions have locked."""


class _CommitGroup:
    def __init__(self, transaction: Transaction, *, alone: bool, waits: bool) -> None:
        self._transaction = transaction
        self._connection = transaction.connection
        self._alone = alone
        self._waits = waits
        self._locked: set[RunKey] = set()  # by other transactions, if this one does not wait for them
        self.draft = Draft()
        self._idempotency_records = IdempotencyRecords(self._connection)
        self._seqs: deque[int] = deque()
        self._ledgers = Ledgers()
        self._named: dict[RunKey, bool] = {}  # and whether as a parent
        self._queues = ClaimQueues(transaction, self.draft, self._named)
        self._services: dict[str, list[PushService]] = {}  # that reach a project
        self._batches: dict[str, Batch | None] = {}
        self._keys = KeyHolders()
        self._cancelled_by: WriteSet | None = None  # of a run whose descendants are cancelled too
        self._cancelling: list[int] = []  # their seqs

    async def load(self, commands: Sequence[Apply | Claim]) -> None:
        """Lock the runs that commands name, and look up the stored answers to their idempotency keys."""
        await self._idempotency_records.load(command.idempotency for command in commands)
        named = self._named
        wanted: dict[ClaimRequest, int] = defaultdict(int)
        for command in commands:
            if isinstance(command, Claim):
                if not self._idempotency_records.known(command.idempotency):
                    wanted[replace(command.query, limit=0)] += command.query.limit
            else:
                named.setdefault(command.key, False)
                if command.want.source_run_id is not None:
                    named.setdefault(RunKey(command.key.project_id, command.want.source_run_id), False)
                if command.want.parent_run_id is not None:
                    named[RunKey(command.key.project_id, command.want.parent_run_id)] = True
        if self._alone:
            wanted_keys = [(each.project_id, each.want.keys) for each in commands if isinstance(each, Apply)]
            self._keys = await lock_keys(self._connection, wanted_keys)
            named.update(dict.fromkeys(self._keys.names, False) | named)
        if not named and len(wanted) == 1:
            [(query, limit)] = wanted.items()
            if await self._claim_at_once(query, limit):
                return
        projects = {key.project_id for key in named}
        projects |= {command.query.project_id for command in commands if isinstance(command, Claim)}
        rows = await self._connection.fetch(
            Q["load"] if self._waits else _LOAD_FREE,
            [key.run_id for key in named],
            [key.project_id for key in named],
            list(named.values()),
            list(projects),
            list({query.project_id for query in wanted}),
        )
        for row in rows:
            self._transaction.see(row[0], row[1])
        self._seqs.extend(rows[0][2])
        self.draft.unhooked = projects.difference(rows[0]["hooked"])
        locked = self.draft.lock(row[8:] for row in rows) if rows[0]["seq"] is not None else []
        if len(locked) < rows[0]["named"] and not self._waits:
            await self._note_locked()
        await self._queues.lock_slots(rows[0]["limited"])
        budgeted, rated = set(rows[0]["budgeted"]), frozenset(rows[0]["rated"])
        spending = [
            each.key
            for each in commands
            if isinstance(each, Apply) and each.want.spends and each.project_id in budgeted | rated
        ]
        if spending:
            await lock_budgets(self._connection, {key.project_id for key in spending})
        await self._queues.lock(wanted)
        if budgeted or spending:
            found = [run for key in spending if (run := self.draft.find(key)) is not None]
            await self._load_budgets([*found, *self._queues.queued(budgeted)], rated)

    async def _load_budgets(self, runs: Sequence[Run], rated: Collection[str] = ()) -> None:
        await self._ledgers.load(self._connection, runs, self._transaction.now, rated)

    async def _note_locked(self) -> None:
        """Note the runs that exist and were not locked: other transactions have locked them, or just changed them."""
        missing = [key for key in self._named if key not in self.draft.ids]
        if missing:
            found = await self._connection.fetch(
                Q["existing_runs"], [key.run_id for key in missing], [key.project_id for key in missing]
            )
            self._locked.update(RunKey(*row) for row in found)
        for key, is_parent in self._named.items():
            run = self.draft.find(key)
            if is_parent and run is not None and any(seq not in self.draft.runs for seq in run.ancestor_seqs):
                self._locked.add(key)

    async def _claim_at_once(self, query: ClaimRequest, limit: int) -> bool:
        """For a group of claims of one kind: read what `load` reads, and lock the next runs, with one statement.

        False, with nothing locked, if the project has concurrency limits: those are counted under a lock before runs are
        locked.
        """
        chosen = list(partitions(query, limit, self._queues.slots, query.targets))
        if not chosen:
            return False
        sql, arguments = first_claim_sql(chosen)
        own, project = self._transaction.own_time(), query.project_id
        spare = session_limits.batch_commands_max
        rows = await claimed_rows(self._connection, sql, own, project, limit, [], spare, *arguments)
        state = rows[0]
        self._transaction.see(state["now"], state["xid"])
        if state["limited"]:
            return False
        self.draft.unhooked = set() if state["hooked"] else {project}
        found = (row[5:] for row in rows) if state["seq"] is not None else ()
        self._queues.of[query] = deque(run.seq for run in sorted(self.draft.lock(found), key=in_queue))
        if state["budgeted"]:
            await self._load_budgets(self._queues.queued({project}))
        return True

    async def decide(self, command: Apply | Claim) -> Outcome:
        self._idempotency_records.replay(command.idempotency)
        try:
            return await self._decide(command)
        except Error:
            await self._idempotency_records.look_again(command.idempotency)
            raise

    async def _decide(self, command: Apply | Claim) -> Outcome:
        if isinstance(command, Claim):
            return self._claim(command)
        if not self._alone and command.is_rare:
            return ALONE
        if self._locked and not self._locked.isdisjoint((command.key, command.lane)):
            return LOCKED
        loaded = await self._loaded(command)
        transition = command.decide(loaded)
        seq = 0
        before = loaded.before(transition)
        if before is None:
            assert (transition.run.project_id, transition.run.run_id) == command.key
            if not self._seqs:
                raise asyncpg.SerializationError("the run was deleted or moved while its row was waited for")
            seq = self._seqs[0]
        if transition.deletes:
            if not self._alone:
                return ALONE
            await self._refuse_child(loaded.run)
        write = write_set(before, transition, loaded.now, seq)
        if write.ends_compensation:
            if not self._alone:
                return ALONE
            await lock_next(self._connection, self.draft, write.run, waits=True)
        written: Written | None = Written.of(write)
        if write.cancels_family and (written := await self._cancel_family(write)) is None:
            return ALONE
        assert written is not None
        written = counted(write, written)
        self._keep([write], command.idempotency, written, loaded.now)
        if write.ends_compensation:
            await release_after(self._connection, self.draft, write)
        if write.schedule is not None:
            assert loaded.schedule is not None
            self.draft.take_schedule(loaded.schedule, write.schedule)
        if before is None:
            self._seqs.popleft()
        return written, None

    def _claim(self, command: Claim) -> Outcome:
        queue = self._queues.of[replace(command.query, limit=0)]
        seqs = [queue[place] for place in range(min(command.query.limit, len(queue)))]
        writes = []
        for seq in seqs:
            run = self.draft.runs[seq]
            now = self._now(run)
            ledger = self._ledgers.ledger(run.project_id)
            writes.append(write_set(run, held_back(run, ledger) or command.decide(run, now), now))
        claimed = [write.run for write in writes]
        self._keep(writes, command.idempotency, claimed, self._transaction.now)
        for _ in seqs:
            queue.popleft()
        return claimed, None

    def _keep(
        self,
        writes: list[WriteSet],
        idempotency: IdempotencyRecord | None,
        result: Written | list[Run],
        now: int,
    ) -> None:
        """Keep all effects of a command; none of them if its answer cannot be encoded."""
        answer = self._idempotency_records.answer(idempotency, result)
        self.draft.take(writes)
        self._ledgers.take(writes)
        if idempotency is not None and answer is not None:
            self.draft.add_idempotency_record(idempotency, answer, now)

    def _now(self, run: Run | None) -> int:
        """The time for a decision, never before the row's last update."""
        now = self._transaction.now
        return now if run is None else max(now, run.updated_at)

    async def _loaded(self, command: Apply) -> Loaded:
        draft, want = self.draft, command.want
        run = draft.find(command.key)
        now = self._now(run)
        parent, family_cancelled, receipt = None, False, None
        if want.parent_run_id is not None:
            parent = draft.find(RunKey(command.key.project_id, want.parent_run_id))
            if parent is None:
                raise not_found("Parent run")
            members = [parent, *(draft.runs[seq] for seq in parent.cancelling_seqs)]
            family_cancelled = any(member.status is RunStatus.CANCELLED for member in members)
        tail: tuple[Event, ...] = ()
        if (
            run is not None
            and want.expected_previous_event_id is not None
            and want.expected_previous_event_id < run.latest_event_id
        ):
            tail = await self._tail(run, want.expected_previous_event_id)
        if run is not None and want.receipt_key is not None:
            receipt = await self._receipt(run.seq, want.receipt_key)
        spending = None if run is None or not want.spends else self._ledgers.of(run)
        if want in ROW_ALONE:
            return Loaded(now, run, spending=spending)
        asked = None if run is None else await load_input(self._connection, run.seq, want)
        schedule = await self._schedule(command)
        keys = {} if run is None else await self._event_keys(run.seq, want.event_keys)
        names = frozenset[str]()
        if run is not None and want.value_names:
            found = await self._connection.fetch(Q["value_names"], run.seq)
            names = frozenset([*(row[0] for row in found), *draft.value_names(run.seq)])
        signals = FoundSignals()
        if run is not None and want.signals is not None:
            signals = await found_signals(self._connection, run.seq, want.signals, draft.signals(run.seq))
        compensations = RegisteredCompensations()
        if run is not None and want.compensations is not None:
            added = draft.added_compensations(run.seq)
            compensations = await registered_compensations(
                self._connection, run.seq, want.compensations.key, added
            )
        service = await self._service(command, now)
        joined = await self._joined(command)
        return Loaded(
            now=now,
            run=run,
            parent=parent,
            family_cancelled=family_cancelled,
            tail=tail,
            receipt=receipt,
            input_request=asked,
            schedule=schedule,
            event_keys=keys,
            value_names=names,
            signals=signals,
            compensations=compensations,
            push_service_id=service,
            batch=joined,
            keyed=self._keys.runs(command.project_id, want.keys, draft.find),
            source=None
            if want.source_run_id is None
            else draft.find(RunKey(command.key.project_id, want.source_run_id)),
            spending=spending,
        )

    async def _schedule(self, command: Apply) -> Schedule | None:
        wanted = command.want.schedule_id
        if wanted is None:
            return None
        found = (await lock_schedules(self._connection, [wanted])).get(wanted)
        return found if found is not None and found.project_id == command.key.project_id else None

    async def _joined(self, command: Apply) -> Batch | None:
        """The batch that a new run joins. It is not locked: if it completes meanwhile, moving its counters fails."""
        wanted = command.want.batch_id
        if wanted is None:
            return None
        if wanted not in self._batches:
            self._batches[wanted] = await load_batch(self._connection, wanted)
        found = self._batches[wanted]
        return found if found is not None and found.project_id == command.key.project_id else None

    async def _event_keys(self, seq: int, wanted: Sequence[str]) -> dict[str, bytes]:
        if not wanted:
            return {}
        found: dict[str, bytes] = dict(await self._connection.fetch(Q["event_keys"], seq, list(wanted)))
        added = ((key, self.draft.event_key(seq, key)) for key in wanted)
        return found | {key: digest for key, digest in added if digest is not None}

    async def _service(self, command: Apply, now: int) -> str | None:
        if command.want.push_agent is None:
            return None
        project_id = command.key.project_id
        if project_id not in self._services:
            self._services[project_id] = await services_reaching(self._connection, [project_id], now)
        service = choose(self._services[project_id], command.want.push_agent)
        return None if service is None else service.id

    async def _tail(self, run: Run, after: int) -> tuple[Event, ...]:
        events: list[Event] = []
        most = limits.events_per_append_max
        if after < self.draft.stored_events(run.seq):
            rows = await self._connection.fetch(Q["tail"], run.created_at, run.seq, after, most)
            events = [to_event(row) for row in rows]
        return (*events, *self.draft.events_after(run.seq, after))[:most]

    async def _receipt(self, seq: int, key: str) -> Receipt | None:
        digest = self.draft.receipt(seq, key)
        if digest is not None:
            return Receipt(key, digest)
        row = await self._connection.fetchrow(Q["receipt"], seq, key)
        return None if row is None else Receipt(*row)

    async def _refuse_child(self, run: Run | None) -> None:
        """Refuse to delete a run that got a child while its row was waited for. No child can come now."""
        assert run is not None
        if await self._connection.fetchval(Q["any_child"], run.seq) is not None:
            raise asyncpg.SerializationError("the run got a child while its row was waited for")

    async def _cancel_family(self, write: WriteSet) -> Written | None:
        """Lock the descendants that are cancelled too. Return the result; None if the command needs its own
        transaction.
        """
        written = Written.of(write)
        if not self._alone:
            return None if await self._has_family(write.run) else written
        self._cancelling = await self._lock_family(write.run)
        self._cancelled_by = write
        left = max(written.run.descendants_active - len(self._cancelling), 0)
        return replace(written, run=replace(written.run, descendants_active=left))

    async def _has_family(self, run: Run) -> bool:
        """Whether a cancel has descendants to cancel. Locking them needs the command's own transaction."""
        if any(run.seq in other.cancelling_seqs and not other.terminal for other in self.draft.runs.values()):
            return True
        step = f"/{run.seq}/"
        return await self._connection.fetchval(Q["any_active_descendant"], run.root_seq, step) is not None

    async def _lock_family(self, run: Run) -> list[int]:
        """Lock all descendants that have not ended, before other locks are taken. Return their seqs."""
        return [
            row[0]
            for row in await self._connection.fetch(Q["active_descendants"], run.root_seq, f"/{run.seq}/")
        ]

    async def finish(self, outcomes: list[Outcome]) -> list[Outcome]:
        """Cancel the descendants of a run that this transaction has cancelled, and add compensations to the results.

        They are decided and written in parts, so that a large family does not hold the event loop.
        """
        if self.draft.settled:
            outcomes = [with_settled(outcome, self.draft) for outcome in outcomes]
        if not self._cancelling or self._cancelled_by is None:
            return outcomes
        [(written, refusal)] = outcomes
        if refusal is not None:
            return outcomes
        cancelled: list[Run] = []
        most = session_limits.family_cancel_part_runs_max
        for start in range(0, len(self._cancelling), most):
            draft = Draft()
            draft.unhooked = self.draft.unhooked
            rows = await self._connection.fetch(Q["locked_runs"], self._cancelling[start : start + most])
            writes = cancel_descendants(self._cancelled_by, draft.lock(rows))
            draft.take(writes)
            await draft.write(self._connection)
            written = written.beside([run for runs in draft.settled.values() for run in runs])
            cancelled += [replace(each.run, descendants_active=0) for each in writes]
        return [(replace(written, cancelled=tuple(cancelled)), None)]
