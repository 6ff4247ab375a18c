"""The SQLite file as plain tables."""

import asyncio
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from runstead.core import limits
from runstead.core.runs.run import FIELDS
from runstead.engines.sqlite.connection import connect
from runstead.engines.sqlite.packing import PACKED, pack, pack_field, unpack, unpack_field
from runstead.engines.sqlite.rows import COMPRESSED
from runstead.engines.sqlite.sql import EVENT_BITS
from runstead.ports.store.bulk import NOT_COPIED, Progress, Rows, Table

_pack, _unpack = msgspec.msgpack.encode, msgspec.msgpack.decode
_LOW: Final = (1 << EVENT_BITS) - 1
_SEQ, _ROOT, _LOGS = (FIELDS.index(name) for name in ("seq", "root_seq", "logs"))
_FLAGS: Final = 5

#: The columns of tables that differ between the engines.
_RUNS: Final = ", ".join(
    "coalesce(root_seq, seq) AS root_seq" if name == "root_seq" else name for name in FIELDS
)
_EVENTS: Final = ("run_seq", "event_id", "type", "payload", "created_at", "flags", "sequence")
_ENTRIES: Final = ("action", "facts", "project_id", "run_seq", "version")
_FAMILY: Final = ("root_seq", "start", "run_seq", "first", "last")


class _Plan(NamedTuple):
    """How a table is read. `keys`: the columns of its order. `not_copied`: columns that the target generates."""

    columns: tuple[str, ...]
    keys: tuple[str, ...]
    values: str
    source: str
    not_copied: tuple[str, ...] = ()


#: The plans of tables that differ between the engines.
_PLANS: Final = {
    "runs": _Plan(FIELDS, ("seq",), _RUNS, "runs"),
    "run_events": _Plan(
        _EVENTS,
        ("id",),
        f"id >> {EVENT_BITS}, id & {_LOW}, type, payload, created_at, flags, sequence",
        "run_events",
    ),
    "rollup_entries": _Plan(
        _ENTRIES, ("run_seq", "version", "action"), ", ".join(_ENTRIES), "rollup_entries", ("id",)
    ),
    # After its descendants are deleted, new events of a root are not in family_log: add their range.
    "family_log": _Plan(
        _FAMILY,
        ("root_seq", "start"),
        ", ".join(_FAMILY),
        """(
  SELECT root_seq, start, run_seq, first, last FROM family_log
  UNION ALL
  SELECT r.seq, ended + 1, r.seq, logged + 1, r.latest_event_id FROM (
    SELECT root_seq, max(start + last - first) AS ended, max(iif(run_seq = root_seq, last, 0)) AS logged
    FROM family_log GROUP BY root_seq
  ) AS noted JOIN runs r ON r.seq = noted.root_seq WHERE r.latest_event_id > logged
)""",
    ),
}


def _plain_run(row: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(
        [
            unpack_field(value, text=index == _LOGS) if index in PACKED else value
            for index, value in enumerate(row)
        ]
    )


def _stored_run(row: Sequence[Any]) -> tuple[Any, ...]:
    values = [pack_field(value) if index in PACKED else value for index, value in enumerate(row)]
    if values[_ROOT] == values[_SEQ]:
        values[_ROOT] = None
    return tuple(values)


def _stored_event(row: Sequence[Any]) -> tuple[Any, ...]:
    run_seq, event_id, name, payload, created_at, flags, *others = row
    packed = pack(payload)
    flags |= COMPRESSED * (packed is not payload)
    return (run_seq << EVENT_BITS) + event_id, name, packed, created_at, flags, *others


class SqliteBulk:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._plans: dict[str, _Plan] = {}

    @property
    def _open(self) -> sqlite3.Connection:
        assert self._connection is not None, "not open"
        return self._connection

    async def open_source(self, *, online: bool = False) -> None:
        self._connection = connect(self._path, "FULL")
        if online:  # the first read begins the snapshot
            self._connection.execute("BEGIN")
            self._connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            return
        try:  # the write lock keeps one snapshot until it is released
            await asyncio.to_thread(self._connection.execute, "BEGIN IMMEDIATE")
        except sqlite3.OperationalError as busy:
            raise RuntimeError(f"another process writes to {self._path}: stop the server first") from busy

    async def open_target(self) -> None:
        self._connection = connect(self._path, "FULL")

    async def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    async def tables(self) -> dict[str, Table]:
        found = {}
        sql = "SELECT name, wr FROM pragma_table_list WHERE schema = 'main' AND type = 'table' ORDER BY name"
        for name, without_rowid in self._open.execute(sql).fetchall():
            if name in NOT_COPIED or name.startswith("sqlite_"):
                continue
            rows = self._open.execute(f"PRAGMA table_info({name})").fetchall()
            columns = sorted(row[1] for row in rows)
            keyed = sorted((row for row in rows if row[5]), key=lambda row: row[5])
            keys = tuple(row[1] for row in keyed) if without_rowid else ("rowid",)
            plan = _Plan(tuple(columns), keys, ", ".join(columns), name)
            if name in _PLANS:
                own = _PLANS[name]
                more = sorted(set(columns) - {*own.columns, *own.keys, *own.not_copied})
                plan = own._replace(columns=(*own.columns, *more), values=", ".join((own.values, *more)))
            self._plans[name] = plan
            references = {row[2] for row in self._open.execute(f"PRAGMA foreign_key_list({name})")}
            found[name] = Table(plan.columns, frozenset(references))
        return found

    async def state(self) -> bytes:
        names = self._open.execute("SELECT name, applied_at FROM schema_migrations ORDER BY name").fetchall()
        runs = "SELECT count(*), max(seq), sum(version), sum(latest_event_id) FROM runs"
        chats = "SELECT count(*), max(updated_at), sum(message_count) FROM conversations"
        return _pack([names, *(self._open.execute(sql).fetchone() for sql in (runs, chats))])

    async def count(self, table: str) -> int:
        sql = f"SELECT count(*) FROM {table}"  # noqa: S608 - a name from the catalogue
        if table == "run_events":
            sql = "SELECT coalesce(sum(latest_event_id), 0) FROM runs"
        return int(self._open.execute(sql).fetchone()[0])

    async def sequences(self) -> dict[str, int]:
        found = self._open.execute("SELECT name, seq FROM sqlite_sequence").fetchall()
        return {name: seq for name, seq in found if name not in NOT_COPIED}

    async def read(self, table: str, mark: bytes | None) -> Rows:
        return await asyncio.to_thread(self._read, table, mark)

    def _read(self, table: str, mark: bytes | None) -> Rows:
        plan = self._plans[table]
        keys = ", ".join(plan.keys)
        where = "" if mark is None else f"WHERE ({keys}) > ({', '.join('?' * len(plan.keys))})"
        sql = f"SELECT {keys}, {plan.values} FROM {plan.source} {where} ORDER BY {keys}"  # noqa: S608 - from the catalogue
        rows: list[tuple[Any, ...]] = []
        size = 0
        for row in self._open.execute(sql, [] if mark is None else _unpack(mark)):
            value = row[len(plan.keys) :]
            if table == "runs":
                value = _plain_run(value)
            elif table == "run_events" and value[_FLAGS] & COMPRESSED:
                value = (*value[:3], unpack(value[3]), value[4], value[_FLAGS] ^ COMPRESSED, *value[6:])
            rows.append(value)
            size += sum(len(item) for item in value if isinstance(item, (bytes, str)))
            if len(rows) == limits.copy_rows_max or size > limits.copy_bytes_max:
                return Rows(rows, _pack(row[: len(plan.keys)]))
        return Rows(rows, None)

    async def is_empty(self, table: str) -> bool:
        return self._open.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone() is None  # noqa: S608 - names from the catalogue

    async def begin(self, source: bytes) -> None:
        self._open.execute("BEGIN IMMEDIATE")
        self._open.execute("CREATE TABLE copy_progress (name TEXT PRIMARY KEY, mark BLOB NOT NULL)")
        self._open.execute("INSERT INTO copy_progress VALUES ('', ?)", (source,))
        self._open.execute("COMMIT")

    async def progress(self) -> Progress | None:
        sql = "SELECT 1 FROM sqlite_schema WHERE name = 'copy_progress'"
        if self._open.execute(sql).fetchone() is None:
            return None
        marks = dict(self._open.execute("SELECT name, mark FROM copy_progress").fetchall())
        return Progress(marks.pop(""), marks)

    async def write(self, table: str, rows: Sequence[tuple[Any, ...]], mark: bytes) -> None:
        await asyncio.to_thread(self._write, table, rows, mark)

    def _write(self, table: str, rows: Sequence[tuple[Any, ...]], mark: bytes) -> None:
        columns = self._plans[table].columns
        if table == "runs":
            rows = [_stored_run(row) for row in rows]
        if table == "run_events":
            columns = ("id", *columns[2:])
            rows = [_stored_event(row) for row in rows]
        sql = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"  # noqa: S608 - names from the catalogue
        connection = self._open
        connection.execute("BEGIN IMMEDIATE")
        try:
            connection.executemany(sql, rows)
            connection.execute("INSERT OR REPLACE INTO copy_progress VALUES (?, ?)", (table, mark))
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise

    async def settle(self, sequences: dict[str, int]) -> None:
        for table, number in sequences.items():
            changed = self._open.execute("UPDATE sqlite_sequence SET seq = ? WHERE name = ?", (number, table))
            if changed.rowcount == 0:
                self._open.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (table, number))

    async def end(self) -> None:
        self._open.execute("DROP TABLE copy_progress")
        self._open.execute("PRAGMA wal_checkpoint(TRUNCATE)")
