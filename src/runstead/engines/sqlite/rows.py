"""Rows to values and back."""

import sqlite3
from collections.abc import Sequence
from itertools import chain
from operator import attrgetter, itemgetter
from typing import Any, Final

import msgspec
from msgspec.structs import astuple

from runstead.core import limits
from runstead.core.runs.event import Event
from runstead.core.runs.run import FIELDS, Run
from runstead.core.runs.transition import Transition
from runstead.core.runs.write_set import changed_fields
from runstead.engines.sql import run_rows
from runstead.engines.sql.run_rows import EVENT_COLUMNS, STATUSES, flags_of
from runstead.engines.sqlite import sql
from runstead.engines.sqlite.packing import PACKED, PACKED_FIELDS, pack, pack_field, unpack, unpack_field
from runstead.engines.sqlite.related import delete_message
from runstead.engines.sqlite.sql import EVENT_BITS, Q, insert_events, update_run

encode = msgspec.json.Encoder().encode

COMPRESSED: Final = 16
"""A flag of an event, beside those of `engines.sql.run_rows`."""

_PAYLOAD: Final = EVENT_COLUMNS.index("payload")
_FLAGS: Final = EVENT_COLUMNS.index("flags")
_STATUS: Final = FIELDS.index("status")
_SEQ: Final = FIELDS.index("seq")
_ROOT: Final = FIELDS.index("root_seq")
_LOGS: Final = FIELDS.index("logs")
_PLACES: Final = range(len(FIELDS))
_packed = attrgetter(*(FIELDS[place] for place in sorted(PACKED)))


def to_run(row: tuple[Any, ...]) -> Run:
    values = list(row)
    values[_STATUS] = STATUSES[values[_STATUS]]
    if values[_ROOT] is None:  # a root is stored before its seq is known
        values[_ROOT] = values[_SEQ]
    for place in PACKED:
        if values[place] is not None:
            values[place] = unpack_field(values[place], text=place == _LOGS)
    return Run(*values)


def without_packed(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """The row without the values that may be compressed."""
    return tuple([None if place in PACKED else value for place, value in enumerate(row)])


def stored_bytes(row: Sequence[Any]) -> int:
    """The size of the values that may be compressed."""
    return sum([len(row[place]) for place in PACKED if row[place] is not None])


def _unchanged_bytes(old: Run | None, new: Run) -> int:
    """The size of the values that a write does not compress again."""
    if old is None:
        return 0
    return sum([len(a) for a, b in zip(_packed(new), _packed(old), strict=True) if a is b and a])


def takes_long(old: Run | None, transition: Transition) -> bool:
    """Whether the write would block the event loop."""
    run = transition.run
    if run is old and not transition.deletes:
        return False
    size = sum([len(event.payload) for event in transition.events])
    size += sum(map(len, filter(None, _packed(run))))
    return (
        transition.deletes
        or (
            transition.cancels_family
            and limits.loop_runs_max < run.descendants_active <= limits.family_cancel_rows_max
        )
        or (run.terminal and old is not None and (old.compensations or 0) > limits.loop_runs_max)
        or (size > limits.loop_bytes_max and size - _unchanged_bytes(old, run) > limits.loop_bytes_max)
    )


def _stored(run: Run) -> list[Any]:
    values = list(astuple(run))
    for place in PACKED:
        values[place] = pack_field(values[place])
    return values


def insert_run(connection: sqlite3.Connection, run: Run) -> int:
    """Return the seq of the new row."""
    assert run.seq == 0
    values = _stored(run)
    values[_SEQ] = None
    given = tuple([place for place in _PLACES if values[place] is not None])
    seq = connection.execute(sql.insert_runs(given), [values[place] for place in given]).lastrowid
    assert seq is not None
    return seq


def insert_runs(connection: sqlite3.Connection, runs: Sequence[Run]) -> None:
    """Insert rows that have their seq, many with one statement: the other thread takes its turn after each statement."""
    most = limits.insert_runs_max
    for start in range(0, len(runs), most):
        rows = [_stored(run) for run in runs[start : start + most]]
        given = tuple([place for place in _PLACES if any(row[place] is not None for row in rows)])
        values = itemgetter(*given)
        connection.execute(sql.insert_runs(given, len(rows)), list(chain.from_iterable(map(values, rows))))


def rewrite_run(connection: sqlite3.Connection, old: Run, new: Run) -> None:
    """Write the fields that differ, guarded by the version that was read."""
    changed = changed_fields(old, new)
    if not PACKED_FIELDS.isdisjoint(changed):
        for name in PACKED_FIELDS & changed.keys():
            changed[name] = pack_field(changed[name])
    guarded = (*changed.values(), old.seq, old.version)
    written = connection.execute(update_run(tuple(changed)), guarded).rowcount
    assert written == 1, f"run {old.seq} was not at version {old.version}"


def delete_run(connection: sqlite3.Connection, run: Run) -> None:
    """Delete the row, guarded by the version that was read, and all rows that belong to it."""
    written = connection.execute(Q["delete_run"], (run.seq, run.version)).rowcount
    assert written == 1, f"run {run.seq} was not at version {run.version}"
    first = run.seq << EVENT_BITS
    connection.execute(Q["delete_events"], (first, first + run.latest_event_id))
    for name in (
        "event_keys",
        "attempts",
        "receipts",
        "values",
        "signals",
        "run_spending",
        "budgets_of_run",
        "budget_sums_of_run",
        "compensations",
        "family_cancel",
        "sessions",
        "input_requests",
        "input_secrets",
        "family_log",
    ):
        connection.execute(Q[f"delete_{name}"], (run.seq,))
    if run.conversation_id is not None:
        delete_message(connection, run.conversation_id, run.seq)


def add_events(connection: sqlite3.Connection, run_seq: int, events: Sequence[Event]) -> None:
    first, most = run_seq << EVENT_BITS, limits.events_per_append_max
    for start in range(0, len(events), most):
        part = events[start : start + most]
        values: list[Any] = []
        for event in part:
            flags, payload = flags_of(event), event.payload
            if len(payload) >= limits.compress_bytes_min and (packed := pack(payload)) is not payload:
                flags, payload = flags | COMPRESSED, packed
            values += (first + event.event_id, event.type, payload, event.created_at, flags, event.sequence)
        connection.execute(insert_events(len(part)), values)


def to_event(row: tuple[Any, ...]) -> Event:
    if row[_FLAGS] & COMPRESSED:
        row = (*row[:_PAYLOAD], unpack(row[_PAYLOAD]), *row[_PAYLOAD + 1 :])
    return run_rows.to_event(row)
