"""Rows to values and back."""

import sqlite3
from collections.abc import Iterable, Sequence
from itertools import compress
from operator import attrgetter, is_not
from typing import Any, Final

import msgspec
from msgspec.structs import astuple

from runstead.core.runs.event import Event, NewEvent
from runstead.core.runs.run import FIELDS, Run, RunStatus
from runstead.core.usage.activity import RunSummary
from runstead.engines.sqlite import sql
from runstead.engines.sqlite.packing import PACKED, pack, pack_field, unpack, unpack_field
from runstead.engines.sqlite.related import delete_message
from runstead.engines.sqlite.sql import EVENT_BITS, Q, insert_events, update_run

encode = msgspec.json.Encoder().encode

EXTERNAL, PRIVATE, IS_ERROR, DELTA, COMPRESSED = 1, 2, 4, 8, 16

_STATUSES: Final = {status.value: status for status in RunStatus}
_STATUS: Final = FIELDS.index("status")
_SEQ: Final = FIELDS.index("seq")
_ROOT: Final = FIELDS.index("root_seq")
_LOGS: Final = FIELDS.index("logs")
_PLACES: Final = range(len(FIELDS))
_packed = attrgetter(*(FIELDS[place] for place in sorted(PACKED)))


def to_run(row: tuple[Any, ...]) -> Run:
    values = list(row)
    values[_STATUS] = _STATUSES[values[_STATUS]]
    if values[_ROOT] is None:  # a root's own seq is known only once it is stored
        values[_ROOT] = values[_SEQ]
    for place in PACKED:
        if values[place] is not None:
            values[place] = unpack_field(values[place], text=place == _LOGS)
    return Run(*values)


def stored_bytes(row: Sequence[Any]) -> int:
    """Of what may have to be unpacked."""
    return sum([len(row[place]) for place in PACKED if row[place] is not None])


def changed_bytes(old: Run | None, new: Run) -> int:
    """Of what would have to be packed."""
    values = _packed(new)
    if old is not None:
        return sum([len(a) for a, b in zip(values, _packed(old), strict=True) if a is not b and a])
    return sum(map(len, filter(None, values)))


def to_runs(rows: Iterable[tuple[Any, ...]]) -> list[Run]:
    return [to_run(row) for row in rows]


def to_summaries(rows: Iterable[tuple[Any, ...]]) -> list[RunSummary]:
    """In one go: a chart has many."""
    return [
        RunSummary(seq, _STATUSES[status], created_at, completed_at, duration_ms)
        for seq, status, created_at, completed_at, duration_ms in rows
    ]


def insert_run(connection: sqlite3.Connection, run: Run) -> int:
    """The seq it got."""
    assert run.seq == 0
    values = list(astuple(run))
    values[_SEQ] = None
    for place in PACKED:
        values[place] = pack_field(values[place])
    given = tuple([place for place in _PLACES if values[place] is not None])
    seq = connection.execute(sql.insert_run(given), [values[place] for place in given]).lastrowid
    assert seq is not None
    return seq


def rewrite_run(connection: sqlite3.Connection, old: Run, new: Run) -> None:
    """Write what differs, guarded by the version that was read."""
    assert new.version > old.version
    was, becomes = astuple(old), astuple(new)
    others = compress(_PLACES, map(is_not, was, becomes))
    changed = tuple([place for place in others if was[place] != becomes[place]])
    values = [pack_field(becomes[place]) if place in PACKED else becomes[place] for place in changed]
    written = connection.execute(update_run(changed), (*values, old.seq, old.version)).rowcount
    assert written == 1, f"run {old.seq} was not at version {old.version}"


def delete_run(connection: sqlite3.Connection, run: Run) -> None:
    """Remove the row, guarded by the version that was read, and all that belongs to it."""
    written = connection.execute(Q["delete_run"], (run.seq, run.version)).rowcount
    assert written == 1, f"run {run.seq} was not at version {run.version}"
    first = run.seq << EVENT_BITS
    connection.execute(Q["delete_events"], (first, first + run.latest_event_id))
    for name in ("event_keys", "attempts", "receipts", "sessions", "input_requests", "family_log"):
        connection.execute(Q[f"delete_{name}"], (run.seq,))
    if run.conversation_id is not None:
        delete_message(connection, run.conversation_id, run.seq)


def add_events(
    connection: sqlite3.Connection, run: Run, events: tuple[NewEvent, ...], now: int, sequence: int
) -> None:
    """Store the run's newest events. `sequence` is the external sequence before them."""
    event_id = (run.seq << EVENT_BITS) + run.latest_event_id - len(events)
    values: list[Any] = []
    for event in events:
        event_id += 1
        sequence += event.counted
        flags = (
            EXTERNAL * event.external
            | PRIVATE * event.private
            | IS_ERROR * event.is_error
            | DELTA * (event.event_class == "delta")
        )
        payload = pack(event.payload)
        if payload is not event.payload:
            flags |= COMPRESSED
        values += (event_id, event.type, payload, now, flags, sequence)
        if event.key is not None:
            number = event_id - (run.seq << EVENT_BITS)
            connection.execute(Q["add_event_key"], (run.seq, event.key, number, event.digest))
    connection.execute(insert_events(len(events)), values)


def to_event(row: tuple[Any, ...]) -> Event:
    event_id, event_type, payload, created_at, flags, sequence = row
    return Event(
        event_id,
        event_type,
        unpack(payload) if flags & COMPRESSED else payload,
        created_at,
        bool(flags & EXTERNAL),
        bool(flags & PRIVATE),
        bool(flags & IS_ERROR),
        sequence,
    )


def ancestors(run: Run) -> str:
    """The seqs above a run as a JSON array, as json_each takes them."""
    return f"[{','.join(run.path.strip('/').split('/'))}]"
