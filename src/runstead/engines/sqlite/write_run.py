"""Write a decision about one run: its row, and everything that it has in other tables."""

import sqlite3
from collections.abc import Sequence

from msgspec.structs import astuple

from runstead.core import limits
from runstead.core.batches.batch import BatchMove, Tally
from runstead.core.runs.run import Run
from runstead.core.runs.transition import (
    Transition,
)
from runstead.core.runs.write_set import WriteSet, cancel_descendants, write_set
from runstead.core.usage import rollup
from runstead.engines.sqlite import families, related, rollups
from runstead.engines.sqlite.compensations import settle_compensations
from runstead.engines.sqlite.related import (
    add_conversation,
    add_message,
)
from runstead.engines.sqlite.rows import (
    add_events,
    delete_run,
    insert_run,
    rewrite_run,
    to_run,
)
from runstead.engines.sqlite.run_cache import WriterCache
from runstead.engines.sqlite.sql import Q
from runstead.ports.store import (
    Written,
)


def write_run(
    connection: sqlite3.Connection,
    cache: WriterCache,
    old: Run | None,
    transition: Transition,
    now: int,
    parent: Run | None = None,
    tally: Tally | None = None,
) -> Written:
    """Write a decision about one run, and cancel its descendants with it where it is cancelled. Those of a large family
    count as cancelled from now on, and `cancel_descendants` writes them. With a `tally` the caller moves the counters of
    batches, once for many runs.
    """
    seq = 0
    if old is None:
        if parent is not None:
            families.note_first_child(connection, parent)
        seq = insert_run(connection, transition.run)
    write = write_set(old, transition, now, seq)
    if transition.audit is not None:
        related.add_audit_entries(connection, write.audit_entries)
    if write.deletes:
        _delete(connection, cache, write)
    elif not write.unchanged:
        settled = store_write(connection, cache, write, tally)
        if write.cancels_family and write.run.descendants_active:
            if write.run.descendants_active <= limits.family_cancel_rows_max:
                return _cancel_family(connection, cache, write, tally).beside(settled)
            connection.execute(Q["add_family_cancel"], (write.run.seq,))
            cache.cancelling = None
        return Written.of(write).beside(settled)
    return Written.of(write)


def store_write(
    connection: sqlite3.Connection, cache: WriterCache, write: WriteSet, tally: Tally | None
) -> Sequence[Run]:
    """Store a write set, without the row of a new run: inserting it gave the run its number.

    Returns the compensations that were created or queued with it.
    """
    if write.before is not None:
        rewrite_run(connection, write.before, write.run)
        if write.moves_event_waits:
            related.move_event_waits(connection, write.run)
    cache.put(write.run)
    store_beside(connection, cache, write, tally)
    if write.ancestors:
        _count_family(connection, cache, write)
    if write.changes_compensations or write.ends_compensation:
        return settle_compensations(
            connection, write, lambda each: store_write(connection, cache, each, tally)
        )
    return ()


def store_beside(
    connection: sqlite3.Connection, cache: WriterCache, write: WriteSet, tally: Tally | None
) -> None:
    """Store what a write set has beside the run's row and the counters of its ancestors."""
    run, transition = write.run, write.transition
    if (move := write.batch_move) is not None:
        _count_batch(connection, move, tally)
    if write.events:
        add_events(connection, run.seq, write.events)
        families.note_events(connection, run, len(write.events))
        for name in write.event_keys:
            connection.execute(Q["add_event_key"], (run.seq, *name))
    if transition.ended is not None:
        connection.execute(Q["add_attempt"], (run.seq, *astuple(transition.ended)))
    if transition.receipt is not None:
        connection.execute(Q["add_receipt"], (run.seq, *astuple(transition.receipt)))
    for value in transition.values:
        connection.execute(Q["set_value"], (run.seq, *astuple(value)))
    for uid in transition.held_contents:
        connection.execute(Q["hold_content"], (run.seq, uid))
    if transition.signal is not None:
        connection.execute(Q["store_signal"], (run.seq, *astuple(transition.signal)))
    if transition.spent is not None or transition.budget is not None:
        related.store_budgets(connection, cache, write)
    _store_conversation(connection, write)
    if write.ends_schedule_run:
        related.record_schedule_end(connection, run)
    if write.webhook_event is not None:
        related.add_deliveries(connection, cache, run, write.webhook_event, write.now)
    if write.rollup_entries:
        rollups.note(connection, write.rollup_entries)
    _note_of_project(connection, cache, write)


def _note_of_project(connection: sqlite3.Connection, cache: WriterCache, write: WriteSet) -> None:
    if change := write.artifact_bytes:
        related.count_artifact_bytes(connection, write.run.project_id, change)
    if write.keyed_target is not None:
        related.add_keyed_target(connection, cache, write.run.project_id, write.keyed_target)


def _store_conversation(connection: sqlite3.Connection, write: WriteSet) -> None:
    if write.conversation is not None:
        add_conversation(connection, write.conversation)
    if write.message is not None:
        add_message(connection, write.message, write.now)
    if write.transition.input_request is not None or write.closed_input is not None:
        related.change_inputs(connection, write)
    if write.erases_secrets:
        related.erase_secrets(connection, write.run.seq)


def _delete(connection: sqlite3.Connection, cache: WriterCache, write: WriteSet) -> None:
    run = write.run
    rolled_up = rollups.rolled_up(connection, run.seq)
    rollups.note(connection, rollup.gone(rollup.end_of(run), rolled_up=rolled_up))
    delete_run(connection, run)
    if change := write.artifact_bytes:
        related.count_artifact_bytes(connection, run.project_id, change)
    cache.drop(run.seq)
    if write.ancestors:
        _count_family(connection, cache, write)


def _count_batch(connection: sqlite3.Connection, move: BatchMove, tally: Tally | None) -> None:
    moves = Tally() if tally is None else tally
    moves.add(move)
    if tally is None:
        related.count_batches(connection, moves)


def _count_family(connection: sqlite3.Connection, cache: WriterCache, write: WriteSet) -> None:
    families.count(connection, cache, write.ancestors, write.family_total, write.family_active)


def _cancel_family(
    connection: sqlite3.Connection, cache: WriterCache, write: WriteSet, tally: Tally | None
) -> Written:
    run = write.run
    rows = connection.execute(Q["active_descendants"], (run.root_seq, f"/{run.seq}/", 0, -1)).fetchall()
    cancelled = cancel_descendants(write, map(to_run, rows))
    settled: list[Run] = []
    for each in cancelled:
        settled += store_write(connection, cache, each, tally)
        # Its row was loaded before its own descendants were counted as ended.
        cache.drop(each.run.seq)
    return Written.of(write, cancelled).beside(settled)
