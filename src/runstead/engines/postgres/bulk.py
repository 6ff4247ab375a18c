"""The PostgreSQL database as plain tables."""

from collections.abc import Sequence
from typing import Any, Final

import asyncpg
import msgspec

from runstead.core import limits
from runstead.core.batches.batch import BATCH_FIELDS, COUNTED
from runstead.core.runs.run import FIELDS
from runstead.engines.postgres import session_limits
from runstead.engines.postgres.connection import Connection, address, connect_alone
from runstead.engines.postgres.partitions import make_partitions
from runstead.engines.postgres.sql import BATCH, BATCHES, COLUMNS, COUNTERS, RUNS, STORED, Q
from runstead.ports.store.bulk import NOT_COPIED, Progress, Rows, Table

_pack, _unpack = msgspec.msgpack.encode, msgspec.msgpack.decode
_EVENTS: Final = ("run_seq", "event_id", "type", "payload", "created_at", "flags", "sequence")
_BATCH: Final = tuple(sorted(BATCH_FIELDS))
#: Tables that differ between the engines: table → (columns, keys, columns of this engine only).
_PLANS: Final[dict[str, tuple[tuple[str, ...], tuple[str, ...], set[str]]]] = {
    "batches": (_BATCH, ("id",), {"open_slots"}),
    "runs": (FIELDS, ("seq",), {"familied"}),
    "run_events": (_EVENTS, ("run_seq", "event_id"), {"run_created_at"}),
    "family_log": (("root_seq", "start", "run_seq", "first", "last"), ("root_seq", "start"), set()),
}
_COUNTERS: Final = {"runs": COUNTERS, "batches": (*COUNTED, "started_at")}


class _Plan(msgspec.Struct):
    columns: tuple[str, ...]
    booleans: tuple[int, ...]  # their indexes in the columns
    keys: tuple[str, ...]
    types: tuple[str, ...]  # of the keys


class PostgresBulk:
    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: Connection | None = None
        self._plans: dict[str, _Plan] = {}
        self._identities = {"runs": ("seq", "run_seq")}  # table → column and its sequence
        self._months: set[int] = set()

    @property
    def _open(self) -> Connection:
        assert self._connection is not None, "not open"
        return self._connection

    async def open_source(self, *, online: bool = False) -> None:
        self._connection = await connect_alone(self._url)
        names = list(await self.tables())
        await self._open.execute(f"SET lock_timeout = {session_limits.lock_s * 1_000}")
        await self._open.transaction(isolation="repeatable_read").start()
        # SHARE blocks writers until the end, but no readers. ACCESS SHARE blocks only that a table is dropped, which a
        # snapshot would not outlast: the retention of events drops partitions.
        mode = "ACCESS SHARE" if online else "SHARE"
        try:
            await self._open.execute(f"LOCK TABLE {', '.join(names)} IN {mode} MODE")
            await self._open.execute("SELECT 1")  # begins the snapshot, which LOCK does not
        except asyncpg.LockNotAvailableError as busy:
            raise RuntimeError(
                f"another process writes to {address(self._url)}: stop the servers first"
            ) from busy

    async def open_target(self) -> None:
        self._connection = await connect_alone(self._url)

    async def close(self) -> None:
        if self._connection is not None:
            self._connection.terminate()

    async def tables(self) -> dict[str, Table]:
        found = {}
        for name, columns, types, primary, references, identity in await self._open.fetch(Q["bulk_tables"]):
            keys = primary
            if name in NOT_COPIED:
                continue
            kinds = dict(zip(columns, types, strict=True))
            plain: tuple[str, ...] = tuple(sorted(columns))
            if name in _PLANS:
                own_columns, keys, own = _PLANS[name]
                counters = _COUNTERS.get(name, ())
                plain = (*own_columns, *sorted(set(columns) - set(own_columns) - own))
                kinds |= dict.fromkeys(counters, "bigint")
            if identity is not None:
                sequence = await self._open.fetchval("SELECT pg_get_serial_sequence($1, $2)", name, identity)
                self._identities[name] = (identity, sequence)
            self._plans[name] = _Plan(
                plain,
                tuple(index for index, column in enumerate(plain) if kinds[column] == "boolean"),
                tuple(keys),
                tuple(kinds[key] for key in keys),
            )
            needs = set(references) | ({"runs"} if name == "run_events" else set())
            found[name] = Table(plain, frozenset(needs))
        return found

    async def state(self) -> bytes:
        rows = [
            await self._open.fetch(Q[name]) for name in ("bulk_migrations", "bulk_runs", "bulk_conversations")
        ]
        return _pack([[tuple(row) for row in found] for found in rows])

    async def count(self, table: str) -> int:
        sql = f"SELECT count(*) FROM {table}"  # noqa: S608 - from the catalogue
        return int(await self._open.fetchval(Q["bulk_events"] if table == "run_events" else sql))

    async def sequences(self) -> dict[str, int]:
        found = {}
        for table, (_, sequence) in self._identities.items():
            sql = f"SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM {sequence}"  # noqa: S608 - from the catalogue
            found[table] = await self._open.fetchval(sql)
        return found

    async def read(self, table: str, mark: bytes | None) -> Rows:
        if self._open.is_in_transaction():
            return await self._read(table, mark)
        async with self._open.transaction(readonly=True):
            return await self._read(table, mark)

    async def _read(self, table: str, mark: bytes | None) -> Rows:
        plan = self._plans[table]
        columns, source = ", ".join(plan.columns), table
        if table == "runs":
            columns, source = ", ".join((COLUMNS, *plan.columns[len(FIELDS) :])), RUNS
        elif table == "batches":
            source = f"(SELECT {BATCH} FROM {BATCHES}) AS batches"  # noqa: S608 - our own names
        elif table == "run_events":
            source = "run_events AS e JOIN runs AS r ON r.seq = e.run_seq AND r.created_at = e.run_created_at"
            columns = ", ".join(f"e.{column}" for column in plan.columns)
        keys = ", ".join(plan.keys)
        mark_values = ", ".join(f"${n}::{kind}" for n, kind in enumerate(plan.types, 1))
        where = "" if mark is None else f"WHERE ({keys}) > ({mark_values})"
        sql = f"SELECT {keys}, {columns} FROM {source} {where} ORDER BY {keys}"  # noqa: S608 - from the catalogue
        after = [] if mark is None else _unpack(mark)
        rows: list[tuple[Any, ...]] = []
        size = 0
        async for row in self._open.cursor(sql, *after, prefetch=100):
            values = list(row)[len(plan.keys) :]
            for at in plan.booleans:
                values[at] = None if values[at] is None else int(values[at])
            rows.append(tuple(values))
            size += sum(len(one) for one in values if isinstance(one, (bytes, str)))
            if len(rows) == limits.copy_rows_max or size > limits.copy_bytes_max:
                return Rows(rows, _pack(list(row)[: len(plan.keys)]))
        return Rows(rows, None)

    async def is_empty(self, table: str) -> bool:
        return await self._open.fetchval(f"SELECT 1 FROM {table} LIMIT 1") is None  # noqa: S608 - from the catalogue

    async def begin(self, source: bytes) -> None:
        async with self._open.transaction():
            await self._open.execute(
                "CREATE TABLE copy_progress (name text PRIMARY KEY, mark bytea NOT NULL)"
            )
            await self._open.execute("INSERT INTO copy_progress VALUES ('', $1)", source)

    async def progress(self) -> Progress | None:
        if await self._open.fetchval("SELECT to_regclass('copy_progress')") is None:
            return None
        marks = dict(await self._open.fetch("SELECT name, mark FROM copy_progress"))
        return Progress(marks.pop(""), marks)

    async def write(self, table: str, rows: Sequence[tuple[Any, ...]], mark: bytes) -> None:
        plan = self._plans[table]
        columns = plan.columns
        if plan.booleans:
            rows = [
                tuple(
                    bool(one) if at in plan.booleans and one is not None else one
                    for at, one in enumerate(row)
                )
                for row in rows
            ]
        if table == "runs":
            await self._make_months({row[FIELDS.index("created_at")] for row in rows})
        async with self._open.transaction():
            if table == "runs":
                await self._write_counters(rows)
                columns = (*STORED, *columns[len(FIELDS) :])
                kept = [index for index, name in enumerate(plan.columns) if name not in COUNTERS]
                rows = [tuple(row[index] for index in kept) for row in rows]
            elif table == "batches":
                columns, rows = await self._write_batch_counts(rows)
            elif table == "run_events":
                created = dict(await self._open.fetch(Q["bulk_created"], list({row[0] for row in rows})))
                columns = (*columns, "run_created_at")
                rows = [(*row, created[row[0]]) for row in rows]
            await self._open.copy_records_to_table(table, records=rows, columns=columns)
            await self._open.execute(Q["bulk_mark"], table, mark)

    async def _make_months(self, times: set[int]) -> None:
        for time in times:
            month = time // (28 * 86_400_000)
            if month not in self._months:
                self._months.add(month)
                await make_partitions(self._open, time, months=2)

    async def _write_counters(self, rows: Sequence[tuple[Any, ...]]) -> None:
        total, active = (FIELDS.index(name) for name in COUNTERS)
        counters = [(row[FIELDS.index("seq")], row[total], row[active], 0) for row in rows if row[total]]
        names = ("run_seq", "descendants_total", "descendants_active", "logged")
        await self._open.copy_records_to_table("run_families", records=counters, columns=names)

    async def _write_batch_counts(
        self, rows: Sequence[tuple[Any, ...]]
    ) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
        """Write the counters to one row each; `settle` spreads them. Return the columns and rows for `batches`."""
        counted = ("started_at", *COUNTED)
        places = [_BATCH.index(name) for name in counted]
        counts = [(row[_BATCH.index("id")], 0, *(row[index] for index in places)) for row in rows]
        names = ("batch_id", "slot", *counted)
        await self._open.copy_records_to_table("batch_counts", records=counts, columns=names)
        own = [index for index in range(len(_BATCH)) if index not in places]
        return tuple(_BATCH[index] for index in own), [tuple(row[index] for index in own) for row in rows]

    async def settle(self, sequences: dict[str, int]) -> None:
        async with self._open.transaction():
            await self._open.execute(Q["bulk_logged"])
            await self._open.execute(Q["bulk_familied"])
            await self._open.execute(Q["bulk_spread"], limits.batch_slots)
            await self._open.execute(Q["bulk_open_slots"])
            for table, (column, sequence) in self._identities.items():
                sql = f"SELECT coalesce(max({column}), 0) FROM {table}"  # noqa: S608 - from the catalogue
                number = max(sequences.get(table, 0), await self._open.fetchval(sql))
                arguments = (sequence, max(number, 1), number > 0)
                await self._open.fetchval("SELECT setval($1::text::regclass, $2, $3)", *arguments)
        await self._open.execute("ANALYZE")

    async def end(self) -> None:
        await self._open.execute("DROP TABLE copy_progress")
