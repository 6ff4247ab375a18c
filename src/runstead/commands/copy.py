"""Copy a store into an empty one of any engine, in pieces, and verify that both have the same rows.

Each piece stores a mark in the target, so an interrupted copy continues where it stopped.
"""

import hashlib
from collections.abc import Awaitable, Callable
from functools import partial
from graphlib import TopologicalSorter
from typing import Any, NamedTuple

import msgspec

from runstead.ports.store.bulk import Bulk, Table

Advance = Callable[[str, int, int], None]
"""(current step, rows done, total rows)"""
_encode = msgspec.msgpack.Encoder().encode


class CopyError(RuntimeError):
    """The copy is impossible, or differs from its source. The message is for the operator."""


class Digest(NamedTuple):
    """A digest of a table's rows that does not depend on their order."""

    rows: int
    sum: int


async def copy(
    source: Bulk,
    target: Bulk,
    advance: Advance,
    before_end: Callable[[], Awaitable[None]] | None = None,
) -> dict[str, int]:
    """Copy all tables between two open stores. Returns table → rows.

    `before_end` is awaited when all rows are copied. No server starts on the target before it returns. Raises CopyError. What was copied until then stays for the next call.
    """
    tables = in_order(shared(await source.tables(), await target.tables()))
    state = await source.state()
    marks = await _marks(target, tables, state)
    total = sum([await source.count(table) for table in tables])
    done = 0
    for table in tables:
        mark = marks.get(table)
        if mark == b"":  # copied completely by an earlier call
            done += await source.count(table)
            continue
        while True:
            rows, following = await source.read(table, mark)
            await target.write(table, rows, following or b"")
            done += len(rows)
            advance(f"copying {table}", done, total)
            if following is None:
                break
            mark = following
    await target.settle(await source.sequences())
    copied = await _compare(source, target, tables, advance)
    if before_end is not None:
        await before_end()
    await target.end()
    return copied


async def _marks(target: Bulk, tables: dict[str, Table], state: bytes) -> dict[str, bytes]:
    progress = await target.progress()
    if progress is None:
        full = [table for table in tables if not await target.is_empty(table)]
        if full:
            raise CopyError(
                f"the target is not empty: it has rows in {', '.join(full)}; copy into a new database"
            )
        await target.begin(state)
        return {}
    if progress.source != state:
        raise CopyError(
            "the target holds an unfinished copy of another store, or of this store before later writes:"
            " copy into a new database"
        )
    return progress.marks


async def _compare(source: Bulk, target: Bulk, tables: dict[str, Table], advance: Advance) -> dict[str, int]:
    total = 2 * sum([await source.count(table) for table in tables])
    done, copied = 0, {}
    for table in tables:
        digests = []
        for store in (source, target):
            found = await digest(store, table, partial(_report, advance, table, done, total))
            done += found.rows
            digests.append(found)
        expected, copy_digest = digests
        if expected != copy_digest:
            raise CopyError(
                f"the copy differs from its source: {table} has {expected.rows} rows in the source and"
                f" {copy_digest.rows} in the copy, or other values; copy into a new database"
            )
        copied[table] = copy_digest.rows
    return copied


def _report(advance: Advance, table: str, done: int, total: int, rows: int) -> None:
    advance(f"verifying {table}", done + rows, total)


async def digest(store: Bulk, table: str, report: Callable[[int], Any] = lambda _: None) -> Digest:
    """Read a whole table. `report` is called with the number of rows after each page."""
    count, summed, mark = 0, 0, None
    while True:
        rows, mark = await store.read(table, mark)
        for row in rows:
            summed += int.from_bytes(hashlib.blake2b(_encode(row), digest_size=16).digest())
        count += len(rows)
        report(count)
        if mark is None:
            return Digest(count, summed % (1 << 128))


def shared(source: dict[str, Table], target: dict[str, Table]) -> dict[str, Table]:
    """Return the tables that both stores have.

    Raises CopyError for the first table or column that only one has.
    """
    for table in sorted(source.keys() ^ target.keys()):
        raise CopyError(
            f"only the {'source' if table in source else 'target'} has a table {table}: nothing was copied"
        )
    for table in sorted(source):
        for column in sorted(set(source[table].columns) ^ set(target[table].columns)):
            where = "source" if column in source[table].columns else "target"
            raise CopyError(f"only the {where} has a column {table}.{column}: nothing was copied")
    return {
        name: Table(table.columns, table.references | target[name].references)
        for name, table in source.items()
    }


def in_order(tables: dict[str, Table]) -> dict[str, Table]:
    """Order the tables so that each follows the tables that it references."""
    references = {name: sorted(table.references - {name}) for name, table in sorted(tables.items())}
    return {name: tables[name] for name in TopologicalSorter(references).static_order()}
