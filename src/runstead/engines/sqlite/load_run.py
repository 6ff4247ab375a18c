"""What a command loads before it decides about a run."""

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any

from msgspec.structs import replace

from runstead.core import limits
from runstead.core.budgets.counting import Spending
from runstead.core.errors import not_found
from runstead.core.queue.push_service import choose
from runstead.core.runs.compensation import RegisteredCompensations
from runstead.core.runs.event import Event
from runstead.core.runs.flow import NO_KEYED_RUNS, KeyedRuns, WantedKeys
from runstead.core.runs.run import Run
from runstead.core.runs.signal import FoundSignals, SentSignals, Signal, WantedSignals
from runstead.core.runs.transition import ROW_ALONE, Loaded, Receipt, Want
from runstead.core.runs.write_set import WriteSet, cancel_below
from runstead.engines.sqlite import families, related
from runstead.engines.sqlite.compensations import registered_compensations
from runstead.engines.sqlite.related import load_input, services_reaching
from runstead.engines.sqlite.rows import encode, stored_bytes, to_event, to_run
from runstead.engines.sqlite.run_cache import WriterCache
from runstead.engines.sqlite.sql import EVENT_BITS, Q
from runstead.engines.sqlite.writer import Writer
from runstead.ports.store import Member, RunKey


def event_bounds(seq: int, after: int, hidden: int, limit: int) -> tuple[int, int, int, int]:
    first = seq << EVENT_BITS
    return first + min(after, limits.events_per_run_max), first + limits.events_per_run_max, hidden, limit


def _row(connection: sqlite3.Connection, key: RunKey) -> tuple[Any, ...] | None:
    row: tuple[Any, ...] | None = connection.execute(Q["run_by_key"], (key.run_id, key.project_id)).fetchone()
    return row


def find_run(connection: sqlite3.Connection, key: RunKey) -> Run | None:
    row = _row(connection, key)
    return None if row is None else to_run(row)


def find_runs(connection: sqlite3.Connection, query: str, arguments: tuple[Any, ...]) -> list[Run]:
    return [to_run(row) for row in connection.execute(Q[query], arguments)]


def _known(connection: sqlite3.Connection, writer: Writer, key: RunKey, want: Want) -> Run | None:
    """The run as it is stored. A fresh id is looked up only in the thread: there its group may have failed after storing it."""
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


def cancel_of_ancestor(connection: sqlite3.Connection, cache: WriterCache, loaded: Loaded) -> WriteSet | None:
    """The cancel of a descendant of a cancelled run that `cancel_descendants` has not written yet."""
    run = loaded.run
    if run is None or run.terminal:
        return None
    ancestor = families.cancelled_ancestor(connection, cache, run)
    return None if ancestor is None else cancel_below(ancestor, run, loaded.now)


def after_cancel(loaded: Loaded, cancel: WriteSet) -> Loaded:
    """What a rule finds after the cancel of its run."""
    request, closed = loaded.input_request, cancel.closed_input
    if request is not None and closed is not None and closed.id == request.id:
        request = closed.applied(request)
    return replace(loaded, run=cancel.run, input_request=request)


def load_run(connection: sqlite3.Connection, writer: Writer, key: RunKey, want: Want, now: int) -> Loaded:
    run = _known(connection, writer, key, want)
    spending = None
    if want.spends and run is not None:
        spending = _spending(connection, writer.cache, run, now)
    if want in ROW_ALONE:
        return Loaded(now, run, spending=spending)
    parent, family_cancelled, receipt, schedule = None, False, None, None
    tail: tuple[Event, ...] = ()
    if want.parent_run_id is not None:
        parent = find_run(connection, RunKey(key.project_id, want.parent_run_id))
        if parent is None:
            raise not_found("Parent run")
        line = encode((*parent.cancelling_seqs, parent.seq)).decode()
        family_cancelled = connection.execute(Q["cancelled_among"], (line,)).fetchone() is not None
    if (
        run is not None
        and want.expected_previous_event_id is not None
        and want.expected_previous_event_id < run.latest_event_id
    ):
        writer.leave_loop()
        bounds = event_bounds(run.seq, want.expected_previous_event_id, 0, limits.events_per_append_max)
        tail = tuple(to_event(row) for row in connection.execute(Q["events_between"], bounds))
    if run is not None and want.receipt_key is not None:
        row = connection.execute(Q["receipt"], (run.seq, want.receipt_key)).fetchone()
        receipt = None if row is None else Receipt(*row)
    asked = None if run is None else load_input(connection, run.seq, want)
    if want.schedule_id is not None:
        schedule = related.load_schedule(connection, want.schedule_id, key.project_id)
    keys: dict[str, bytes] = {}
    if run is not None and want.event_keys:
        found = connection.execute(Q["event_keys"], (run.seq, encode(want.event_keys).decode()))
        keys = dict(found.fetchall())
    names: frozenset[str] = frozenset()
    if run is not None and want.value_names:
        names = frozenset(name for (name,) in connection.execute(Q["value_names"], (run.seq,)))
    signals = FoundSignals()
    if run is not None and want.signals is not None:
        signals = _signals(connection, run.seq, want.signals)
    compensations = RegisteredCompensations()
    if run is not None and want.compensations is not None:
        compensations = registered_compensations(connection, run.seq, want.compensations.key)
    batch = None
    if want.batch_id is not None:
        batch = related.load_batch(connection, want.batch_id, key.project_id)
    source = None
    if want.source_run_id is not None:
        writer.leave_loop()
        source = find_run(connection, RunKey(key.project_id, want.source_run_id))
    push_service_id = None
    if want.push_agent is not None:
        service = choose(services_reaching(connection, (key.project_id,), now), want.push_agent)
        push_service_id = None if service is None else service.id
    keyed = NO_KEYED_RUNS
    if run is None and want.keys is not None:
        keyed = load_keyed(connection, writer, key.project_id, want.keys)
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
        push_service_id=push_service_id,
        batch=batch,
        keyed=keyed,
        source=source,
        spending=spending,
    )


def load_keyed(
    connection: sqlite3.Connection, writer: Writer, project_id: str, wanted: WantedKeys
) -> KeyedRuns:
    """The runs with the keys of a new run, without those that are being cancelled with an ancestor."""

    def one(query: str, key: str | None) -> Run | None:
        if key is None:
            return None
        row = connection.execute(Q[query], (project_id, key, wanted.target)).fetchone()
        if row is None:
            return None
        if stored_bytes(row) > limits.loop_bytes_max:
            writer.leave_loop()
        run = to_run(row)
        return None if families.cancelled_ancestor(connection, writer.cache, run) is not None else run

    return KeyedRuns(one("run_by_unique_key", wanted.unique), one("run_by_debounce_key", wanted.debounce))


def _spending(connection: sqlite3.Connection, cache: WriterCache, run: Run, now: int) -> Spending | None:
    ledger = related.ledger_of(connection, cache, run.project_id, [run], now, usage=True)
    return None if ledger is None else ledger.of(run.seq)


def _signals(connection: sqlite3.Connection, seq: int, want: WantedSignals) -> FoundSignals:
    def one(query: str, value: str) -> Signal | None:
        row = connection.execute(Q[query], (seq, value)).fetchone()
        return None if row is None else Signal(*row)

    oldest = ((name, one("oldest_signal", name)) for name in want.names)
    sent = SentSignals()
    if want.sends:
        latest, untaken = connection.execute(Q["sent_signals"], (seq, limits.signals_untaken_max)).fetchone()
        sent = SentSignals(latest, untaken, None if want.key is None else one("signal_by_key", want.key))
    return FoundSignals({name: signal for name, signal in oldest if signal is not None}, sent)


def load_members(
    connection: sqlite3.Connection, writer: Writer, members: Sequence[Member], now: int
) -> Iterator[Loaded]:
    """What the rules of a batch's runs need. What new runs want alike is loaded once."""
    if not members:
        return
    shared: dict[Want, Loaded] = {}
    ids = encode([key.run_id for key, _, _ in members]).decode()
    found = connection.execute(Q["stored_ids"], (members[0].key.project_id, ids))
    stored = {run_id for (run_id,) in found.fetchall()}
    for key, _, want in members:
        if key.run_id in stored:
            yield load_run(connection, writer, key, want, now)
            continue
        loaded = shared.get(want)
        if loaded is None:
            loaded = shared[want] = load_run(connection, writer, key, want, now)
        yield loaded
