"""Runs in SQLite: writes as jobs for the writer, reads as reads for the readers."""

import sqlite3
from collections.abc import Sequence
from typing import Any

from msgspec.structs import astuple, replace

from runstead.core import limits
from runstead.core.batches.batch import Tally
from runstead.core.conversations.conversation import StoredMessage
from runstead.core.errors import not_found
from runstead.core.idempotency import IdempotencyRecord
from runstead.core.queue.push_service import choose
from runstead.core.runs import transitions
from runstead.core.runs.event import Event
from runstead.core.runs.run import Run
from runstead.core.runs.transition import (
    NOTHING_ELSE,
    Decide,
    DecideFiring,
    EndedAttempt,
    Loaded,
    Receipt,
    Transition,
    Want,
)
from runstead.core.schedules.schedule import Schedule
from runstead.core.usage import rollup
from runstead.core.usage.activity import RunSummary, Share
from runstead.core.usage.usage import FamilyUsage
from runstead.engines.sqlite import batch_counts, families, queue, rollups, schedules, webhooks
from runstead.engines.sqlite.firings import load_due
from runstead.engines.sqlite.idempotency import idempotent
from runstead.engines.sqlite.page import SUMMARY_COLUMNS, shares
from runstead.engines.sqlite.readers import Readers
from runstead.engines.sqlite.related import add_input, add_message, close_input, load_input, services_reaching
from runstead.engines.sqlite.rows import (
    PRIVATE,
    add_events,
    ancestors,
    changed_bytes,
    delete_run,
    encode,
    insert_run,
    rewrite_run,
    stored_bytes,
    to_event,
    to_run,
    to_runs,
    to_summaries,
)
from runstead.engines.sqlite.run_cache import WriterCache
from runstead.engines.sqlite.run_index import found
from runstead.engines.sqlite.sql import COLUMNS, EVENT_BITS, Q
from runstead.engines.sqlite.writer import Writer
from runstead.ports.store import (
    ClaimRequest,
    DecideOne,
    DecidePush,
    FamilyPage,
    RunKey,
    RunQuery,
    TypeCount,
    Written,
    WrittenFiring,
)


class SqliteRuns:
    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._cache = writer.cache
        self._readers = readers

    async def apply(
        self,
        key: RunKey,
        decide: Decide,
        want: Want = NOTHING_ELSE,
        idempotency: IdempotencyRecord | None = None,
    ) -> Written:
        def job(connection: sqlite3.Connection, now: int) -> Written:
            loaded = _load(connection, self._writer, key, want, now)
            transition = decide(loaded)
            if _takes_long(loaded.run, transition):
                self._writer.leave_loop()
            if transition.schedule is not None:
                assert loaded.schedule is not None
                schedules.rewrite(connection, loaded.schedule, transition.schedule)
            return _write(connection, self._cache, loaded.run, transition, now, loaded.parent)

        return await self._writer.do(idempotent(job, idempotency), quick=True)

    async def claim(
        self, query: ClaimRequest, decide: DecideOne, idempotency: IdempotencyRecord | None = None
    ) -> list[Run]:
        def job(connection: sqlite3.Connection, now: int) -> list[Run]:
            runs = queue.claimable_runs(connection, self._writer, query, now)
            if len(runs) > limits.loop_runs_max:
                self._writer.leave_loop()
            return [_write(connection, self._cache, run, decide(run, now), now).run for run in runs]

        return await self._writer.do(idempotent(job, idempotency), quick=True)

    async def next_available(self, project_id: str, kinds: Sequence[str], since_ms: int) -> int | None:
        now = self._writer.now()
        arguments = (project_id, encode(kinds).decode(), now - since_ms)
        (soonest,) = await self._readers.do(lambda c: c.execute(Q["next_available"], arguments).fetchone())
        return None if soonest is None else max(soonest - now, 0)

    async def enforce_deadlines(self, limit: int, decide: DecideOne) -> list[Written]:
        def job(connection: sqlite3.Connection, now: int) -> list[Written]:
            written = []
            for seq in queue.due_seqs(connection, now, limit):
                run = to_run(connection.execute(Q["run_by_seq"], (seq,)).fetchone())
                written.append(_write(connection, self._cache, run, decide(run, now), now))
            return written

        return await self._writer.do(job)

    async def next_due(self) -> int | None:
        (at,) = await self._readers.do(lambda c: c.execute(Q["next_due"]).fetchone())
        return None if at is None else max(at - self._writer.now(), 0)

    async def dispatch(
        self, limit: int, busy: Sequence[str], decide: DecidePush, after: str = ""
    ) -> list[Run]:
        def job(connection: sqlite3.Connection, now: int) -> list[Run]:
            written = []
            for run in queue.due_pushes(connection, now, limit, busy, after):
                services = services_reaching(connection, (run.project_id,), now)
                written.append(_write(connection, self._cache, run, decide(run, now, services), now).run)
            return written

        return await self._writer.do(job)

    async def fire(self, limit: int, decide: DecideFiring) -> list[WrittenFiring]:
        def job(connection: sqlite3.Connection, now: int) -> list[WrittenFiring]:
            return [
                _fire(connection, self._cache, schedule, decide, now)
                for schedule in schedules.due(connection, now, limit)
            ]

        return await self._writer.do(job)

    async def cancelled_pushes(self, limit: int, busy: Sequence[str]) -> list[Run]:
        return await self._many("cancelled_pushes", (encode(busy).decode(), limit))

    async def get(self, key: RunKey) -> Run | None:
        return await self._readers.do(lambda c: _run(c, key))

    async def find(self, run_id: str, project_ids: Sequence[str]) -> list[Run]:
        arguments = (run_id, encode(project_ids).decode())
        return await self._many("runs_by_id", arguments)

    async def page(self, query: RunQuery) -> list[Run]:
        return await self._readers.do(lambda c: found(c, query, COLUMNS, to_runs))

    async def summaries(self, query: RunQuery) -> list[RunSummary]:
        return await self._readers.do(lambda c: found(c, query, SUMMARY_COLUMNS, to_summaries))

    async def shares(self, query: RunQuery, origin: int, width: int) -> list[Share]:
        return await self._readers.do(lambda c: shares(c, query, origin, width))

    async def children(self, seq: int, limit: int, after: int = 0, kind: str | None = None) -> list[Run]:
        return await self._many("children", (seq, limit, after, kind))

    async def family(self, root_seq: int, limit: int) -> list[Run]:
        return await self._many("family", (root_seq, limit))

    async def _many(self, query: str, arguments: tuple[Any, ...]) -> list[Run]:
        return await self._readers.do(lambda c: [to_run(row) for row in c.execute(Q[query], arguments)])

    async def attempts(self, seq: int) -> list[EndedAttempt]:
        return await self._readers.do(
            lambda c: [EndedAttempt(*row) for row in c.execute(Q["attempts"], (seq,))]
        )

    async def events(
        self,
        seq: int,
        after: int,
        limit: int,
        bytes_max: int | None = None,
        types: Sequence[str] = (),
    ) -> list[Event]:
        first, last, hidden, _ = _bounds(seq, after, PRIVATE, limit)
        name = "events_of_types" if types else "events_between"
        return await self._events(name, (first, last, hidden), limit, bytes_max, types)

    async def events_before(
        self,
        seq: int,
        before: int,
        limit: int,
        bytes_max: int | None = None,
        types: Sequence[str] = (),
    ) -> list[Event]:
        first = seq << EVENT_BITS
        bounds = (first, first + min(before, limits.events_per_run_max + 1), PRIVATE)
        name = "events_of_types_backwards" if types else "events_backwards"
        return (await self._events(name, bounds, limit, bytes_max, types))[::-1]

    async def _events(
        self, name: str, bounds: tuple[int, ...], limit: int, bytes_max: int | None, types: Sequence[str]
    ) -> list[Event]:
        arguments = (*bounds, encode(types).decode(), limit) if types else (*bounds, limit)

        def read(connection: sqlite3.Connection) -> list[Event]:
            events: list[Event] = []
            size = 0
            for row in connection.execute(Q[name], arguments):
                event = to_event(row)
                size += len(event.payload)
                if bytes_max is not None and size > bytes_max and events:
                    break
                events.append(event)
            return events

        return await self._readers.do(read)

    async def event(self, seq: int, event_id: int) -> Event | None:
        def read(connection: sqlite3.Connection) -> Event | None:
            row = connection.execute(Q["event"], ((seq << EVENT_BITS) + event_id, PRIVATE)).fetchone()
            return None if row is None else to_event(row)

        return await self._readers.do(read) if 0 < event_id <= limits.events_per_run_max else None

    async def event_counts(self, seq: int) -> list[TypeCount]:
        bounds = _bounds(seq, 0, PRIVATE, 0)[:3]
        return await self._readers.do(
            lambda c: [TypeCount(*row) for row in c.execute(Q["event_counts"], bounds)]
        )

    async def family_events(
        self, run: Run, after: int, limit: int, bytes_max: int | None = None, types: Sequence[str] = ()
    ) -> FamilyPage:
        return await self._readers.do(lambda c: families.page(c, run, after, limit, bytes_max, types))

    async def usage(self, run: Run) -> FamilyUsage:
        return await self._readers.do(lambda c: families.usage(c, run))

    async def latest_event_ids(self, seqs: Sequence[int]) -> dict[int, int]:
        told = encode(seqs).decode()
        return await self._readers.do(lambda c: dict(c.execute(Q["latest_event_ids"], (told,)).fetchall()))


def _bounds(seq: int, after: int, hidden: int, limit: int) -> tuple[int, int, int, int]:
    first = seq << EVENT_BITS
    return first + min(after, limits.events_per_run_max), first + limits.events_per_run_max, hidden, limit


def _row(connection: sqlite3.Connection, key: RunKey) -> tuple[Any, ...] | None:
    row: tuple[Any, ...] | None = connection.execute(Q["run_by_key"], (key.run_id, key.project_id)).fetchone()
    return row


def _run(connection: sqlite3.Connection, key: RunKey) -> Run | None:
    row = _row(connection, key)
    return None if row is None else to_run(row)


def _known(connection: sqlite3.Connection, writer: Writer, key: RunKey, want: Want) -> Run | None:
    """The run as it stands. An id that was made just now is looked for only where it may have been stored already: where
    its group failed, in the thread.
    """
    if want.fresh and writer.on_loop:
        return None
    run = writer.cache.get(key)
    if run is not None:
        return run
    row = _row(connection, key)
    if row is None:
        return None
    if stored_bytes(row) > limits.loop_bytes_max:
        writer.leave_loop()
    return to_run(row)


def _takes_long(old: Run | None, transition: Transition) -> bool:
    """Whether writing it would hold the event loop up."""
    run = transition.run
    if run is old and not transition.deletes:
        return False
    size = sum([len(event.payload) for event in transition.events])
    return (
        transition.deletes
        or (transition.cancels_family and run.descendants_active > limits.loop_runs_max)
        or size + changed_bytes(old, run) > limits.loop_bytes_max
    )


def _load(connection: sqlite3.Connection, writer: Writer, key: RunKey, want: Want, now: int) -> Loaded:
    run = _known(connection, writer, key, want)
    if want is NOTHING_ELSE:
        return Loaded(now, run)
    parent, family_cancelled, receipt, schedule = None, False, None, None
    tail: tuple[Event, ...] = ()
    if want.parent_run_id is not None:
        parent = _run(connection, RunKey(key.project_id, want.parent_run_id))
        if parent is None:
            raise not_found("Parent run")
        above = ancestors(replace(parent, path=f"{parent.path}{parent.seq}/"))
        family_cancelled = connection.execute(Q["cancelled_among"], (above,)).fetchone() is not None
    if (
        run is not None
        and want.expected_previous_event_id is not None
        and want.expected_previous_event_id < run.latest_event_id
    ):
        writer.leave_loop()
        bounds = _bounds(run.seq, want.expected_previous_event_id, 0, limits.events_per_append_max)
        tail = tuple(to_event(row) for row in connection.execute(Q["events_between"], bounds))
    if run is not None and want.receipt_key is not None:
        row = connection.execute(Q["receipt"], (run.seq, want.receipt_key)).fetchone()
        receipt = None if row is None else Receipt(*row)
    asked = None if run is None else load_input(connection, run.seq, want)
    if want.schedule_id is not None:
        schedule = schedules.load(connection, want.schedule_id, key.project_id)
    keys: dict[str, bytes] = {}
    if run is not None and want.event_keys:
        found = connection.execute(Q["event_keys"], (run.seq, encode(want.event_keys).decode()))
        keys = dict(found.fetchall())
    batch = None
    if want.batch_id is not None:
        batch = batch_counts.load(connection, want.batch_id, key.project_id)
    push_service_id = None
    if want.push_agent is not None:
        service = choose(services_reaching(connection, (key.project_id,), now), want.push_agent)
        push_service_id = None if service is None else service.id
    return Loaded(
        now, run, parent, family_cancelled, tail, receipt, asked, schedule, keys, push_service_id, batch
    )


def _write(
    connection: sqlite3.Connection,
    cache: WriterCache,
    old: Run | None,
    transition: Transition,
    now: int,
    parent: Run | None = None,
    tally: Tally | None = None,
) -> Written:
    """Write a decision about one run with all that changes with it. With a `tally` the caller moves the counters of
    batches, once for many.
    """
    run = transition.run
    if transition.deletes:
        assert run is old
        rollups.note(
            connection, rollup.gone(rollup.end_of(run), rolled_up=rollups.rolled_up(connection, run.seq))
        )
        delete_run(connection, run)
        cache.drop(run.seq)
        _count_family(connection, cache, run, transition)
        return Written(run, transition, before=old)
    if run is old:
        return Written(run, transition, before=old)
    if old is None:
        if parent is not None:
            families.note_first_child(connection, parent)
        seq = insert_run(connection, run)
        run = replace(run, seq=seq, root_seq=run.root_seq if run.root_seq is not None else seq)
    else:
        rewrite_run(connection, old, run)
    cache.put(run)
    if run.batch_id is not None:
        _count_batch(connection, old, run, tally)
    latest = 0 if old is None else old.latest_event_id
    assert run.latest_event_id - latest == len(transition.events)
    if transition.events:
        sequence = 0 if old is None else old.latest_external_event_sequence
        add_events(connection, run, transition.events, now, sequence)
        families.note_events(connection, run, len(transition.events))
    if (ended := transition.ended) is not None:
        connection.execute(Q["add_attempt"], (run.seq, *astuple(ended)))
    if (receipt := transition.receipt) is not None:
        connection.execute(Q["add_receipt"], (run.seq, receipt.key, receipt.digest))
    if transition.conversation is not None:
        connection.execute(Q["add_conversation"], astuple(transition.conversation)[:-1])  # all but seq
    if (message := transition.message) is not None:
        placeholder = StoredMessage(
            message.id,
            message.conversation_id,
            "assistant",
            now,
            now,
            run_seq=run.seq,
            created_by=message.created_by,
        )
        add_message(connection, placeholder, now)
    if (asked := transition.input_request) is not None and asked.seq == 0:
        add_input(connection, asked)
    if transition.closed_input is not None:
        close_input(connection, transition.closed_input)
    if run.schedule_id is not None and run.terminal and old is not None and not old.terminal:
        schedules.note_end(connection, run)
    webhooks.tell(connection, cache, old, run, now)
    rollups.note(connection, rollup.ended(old, run))
    _count_family(connection, cache, run, transition)
    if not transition.cancels_family or run.descendants_active == 0:
        return Written(run, transition, before=old)
    cancelled = _cancel_family(connection, cache, run, now, tally)
    return Written(replace(run, descendants_active=0), transition, cancelled, before=old)


def _count_batch(connection: sqlite3.Connection, old: Run | None, run: Run, tally: Tally | None) -> None:
    alone = Tally() if tally is None else tally
    alone.note(old, run)
    if tally is None:
        batch_counts.count(connection, alone)


def _fire(
    connection: sqlite3.Connection, cache: WriterCache, schedule: Schedule, decide: DecideFiring, now: int
) -> WrittenFiring:
    due = load_due(connection, schedule, now)
    fired = decide(due)
    if fired.schedule is None:
        schedules.remove(connection, schedule)
    elif fired.schedule is not schedule:
        schedules.rewrite(connection, schedule, fired.schedule)
    written = [] if fired.transition is None else [_write(connection, cache, None, fired.transition, now)]
    for run, transition in zip(due.running, fired.cancels, strict=bool(fired.cancels)):
        written.append(_write(connection, cache, run, transition, now))
    return WrittenFiring(schedule, fired, tuple(written))


def _count_family(
    connection: sqlite3.Connection, cache: WriterCache, run: Run, transition: Transition
) -> None:
    if run.path != "/" and (transition.family_total or transition.family_active):
        for seq in run.path.strip("/").split("/"):
            cache.drop(int(seq))
        counts = (transition.family_total, transition.family_active, ancestors(run))
        connection.execute(Q["count_family"], counts)


def _cancel_family(
    connection: sqlite3.Connection, cache: WriterCache, run: Run, now: int, tally: Tally | None
) -> tuple[Run, ...]:
    rows = connection.execute(Q["descendants_alive"], (run.root_seq, f"/{run.seq}/")).fetchall()
    cancelled = []
    for row in rows:
        below = to_run(row)
        transition = transitions.cancel(below, now=now, reason=run.cancel_reason)
        # The whole family is at hand already: nobody below needs to look for more, and nobody below stays active.
        alone = replace(transition, cancels_family=False)
        written = _write(connection, cache, below, alone, now, tally=tally)
        cache.drop(
            below.seq
        )  # what it was read with does not count those below it that were written before it
        cancelled.append(replace(written.run, descendants_active=0))
    return tuple(cancelled)


#: For batches, whose runs are created and cancelled in the same way, many in one transaction.
load_run, write_run = _load, _write
