"""Moves a store into an empty one, of whichever engine: in pieces, each with its mark, so that it can go on where it was
killed; and proves at the end that both hold the same.
"""

import hashlib
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import msgspec

from runstead.ports.store.bulk import Bulk, Table

Advance = Callable[[str, int, int], None]
"""(what is done just now, rows done, rows in all)"""
_encode = msgspec.msgpack.Encoder().encode


class CopyError(RuntimeError):
    """Why a copy cannot be, or is not what it should be; a sentence for the operator."""


class Digest(NamedTuple):
    """Of a table's rows, in whatever order they come."""

    rows: int
    sum: int


async def copy(source: Bulk, target: Bulk, advance: Advance) -> dict[str, int]:
    """Table → rows. Both are open. Raises CopyError; what was copied until then stays for the next try."""
    tables = in_order(shared(await source.tables(), await target.tables()))
    state = await source.state()
    marks = await _marks(target, tables, state)
    total = sum([await source.count(table) for table in tables])
    done = 0
    for table in tables:
        mark = marks.get(table)
        if mark == b"":  # there already, whole
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
            "the target holds an unfinished copy of another store, or of this one before it was written again:"
            " copy into a new database"
        )
    return progress.marks


async def _compare(source: Bulk, target: Bulk, tables: dict[str, Table], advance: Advance) -> dict[str, int]:
    total = 2 * sum([await source.count(table) for table in tables])
    done, copied = 0, {}
    for table in tables:
        digests = []
        for store in (source, target):
            found = await digest(store, table, partial(_tell, advance, table, done, total))
            done += found.rows
            digests.append(found)
        there, here = digests
        if there != here:
            raise CopyError(
                f"the copy is not what the source is: {table} has {there.rows} rows there and {here.rows} here, or"
                " other values; copy into a new database"
            )
        copied[table] = here.rows
    return copied


def _tell(advance: Advance, table: str, done: int, total: int, rows: int) -> None:
    advance(f"verifying {table}", done + rows, total)


async def digest(store: Bulk, table: str, tell: Callable[[int], Any] = lambda _: None) -> Digest:
    count, summed, mark = 0, 0, None
    while True:
        rows, mark = await store.read(table, mark)
        for row in rows:
            summed += int.from_bytes(hashlib.blake2b(_encode(row), digest_size=16).digest())
        count += len(rows)
        tell(count)
        if mark is None:
            return Digest(count, summed % (1 << 128))


def shared(source: dict[str, Table], target: dict[str, Table]) -> dict[str, Table]:
    """The tables, where both stores have the same: CopyError names the first that they do not share."""
    for table in sorted(source.keys() ^ target.keys()):
        raise CopyError(
            f"only the {'source' if table in source else 'target'} has a table {table}: nothing was copied"
        )
    for table in sorted(source):
        for column in sorted(set(source[table].columns) ^ set(target[table].columns)):
            where = "source" if column in source[table].columns else "target"
            raise CopyError(f"only the {where} has a column {table}.{column}: nothing was copied")
    return {
        table: Table(told.columns, told.references | target[table].references)
        for table, told in source.items()
    }


def in_order(tables: dict[str, Table]) -> dict[str, Table]:
    """Each after those that it refers to."""
    ordered: dict[str, Table] = {}
    while len(ordered) < len(tables):
        ready = [
            name
            for name, table in sorted(tables.items())
            if name not in ordered and table.references - {name} <= ordered.keys()
        ]
        assert ready, "tables refer to each other in a circle"
        ordered |= {name: tables[name] for name in ready}
    return ordered
