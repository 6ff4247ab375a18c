"""Roll-ups of usage and activity in a SQLite file."""

import asyncio
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, TypeVar

import msgspec

from runstead.core import limits
from runstead.core.runs.run import RunStatus
from runstead.core.usage.activity import Share
from runstead.core.usage.rollup import (
    FACT_FIELDS,
    Action,
    Added,
    Additions,
    Entry,
    Facts,
    Line,
    Span,
    decode_facts,
    end_of,
    facts,
    lines,
    moved,
    packed,
    uncoded,
    unpacked,
)
from runstead.core.usage.rollup_check import RollupChecker
from runstead.engines.sql.pacing import paced
from runstead.engines.sqlite.connection import snapshot
from runstead.engines.sqlite.packing import unpack_field
from runstead.engines.sqlite.page import shares
from runstead.engines.sqlite.readers import Readers
from runstead.engines.sqlite.rows import encode, to_run
from runstead.engines.sqlite.sql import Q
from runstead.engines.sqlite.writer import Writer
from runstead.ports.store import ActivityQuery, UsagePage, UsageQuery, WaySums

T = TypeVar("T")
#: The entries of `rollup_entries`, with the facts in hex.
_entries = msgspec.json.Decoder(list[tuple[Action, str, str]])
_STATUS: Final = FACT_FIELDS.index("status")


def note(connection: sqlite3.Connection, entries: Iterable[Entry]) -> None:
    for entry in entries:
        connection.execute(Q["add_rollup_entry"], entry)


def rolled_up(connection: sqlite3.Connection, seq: int) -> bool:
    """Whether the sums or the entries contain this terminal run."""
    return connection.execute(Q["not_rolled_up"], (seq,)).fetchone() is None


def note_moved(connection: sqlite3.Connection, seqs: Sequence[int], project_id: str) -> None:
    """Move the usage of these runs to a project."""
    for seq in seqs:
        run = to_run(connection.execute(Q["run_by_seq"], (seq,)).fetchone())
        if run.terminal:
            note(connection, moved(end_of(run), project_id, rolled_up=rolled_up(connection, seq)))


class SqliteRollups:
    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers

    async def add_entries(
        self, limit: int, count_tokens: Callable[[Sequence[int]], object] | None = None
    ) -> int:
        """Compute the additions outside the writer. Add them only if no other tick ran in between."""
        row = await self._readers.scan(lambda c: c.execute(Q["rollup_entries"], (limit,)).fetchone())
        folds, last, encoded = row
        if last is None:
            return 0
        entries = _entries.decode(encoded)
        additions = await asyncio.to_thread(
            lambda: Additions(
                (action, project, decode_facts(bytes.fromhex(facts)))
                for action, project, facts in paced(entries)
            )
        )

        def job(connection: sqlite3.Connection, _now: int) -> int:
            if connection.execute(Q["begin_tick"], (folds,)).rowcount != 1:
                return 0
            _add(connection, additions)
            connection.execute(Q["drop_rollup_entries"], (last,))
            return len(entries)

        added = await self._writer.do(job, keeps_cache=True)
        if added and count_tokens is not None:
            count_tokens(additions.ended_tokens)
        return added

    async def catch_up(self, limit: int) -> int:
        if not await self._readers.scan(lambda c: c.execute(Q["rollup_backlog"]).fetchone()):
            return 0
        return await self._writer.do(lambda c, _: _catch_up(c, limit), keeps_cache=True)

    async def usage(self, query: UsageQuery) -> UsagePage:
        return await self._read(lambda c: _usage(c, query))

    async def families(self, project_id: str, span: Span, most: int) -> int:
        arguments = (project_id, *span, most)
        return await self._readers.scan(
            lambda c: int(c.execute(Q["count_usage_families"], arguments).fetchone()[0])
        )

    async def targets(self, project_id: str, most: int) -> list[str]:
        rows = await self._readers.scan(
            lambda c: c.execute(Q["activity_targets"], (project_id, most)).fetchall()
        )
        return [uncoded(name) or "" for (name,) in rows]

    async def activity(self, query: ActivityQuery) -> list[Share] | None:
        return await self._read(lambda c: _activity(c, query))

    async def integrity(self) -> list[str]:
        return await self._read(_check)

    async def _read(self, read: Callable[[sqlite3.Connection], T]) -> T:
        """Read in one snapshot."""

        def job(connection: sqlite3.Connection) -> T:
            with snapshot(connection):
                return read(connection)

        return await self._readers.scan(job)


def _catch_up(connection: sqlite3.Connection, limit: int) -> int:
    row = connection.execute(Q["rollup_backlog"]).fetchone()
    if row is None:
        return 0
    runs = connection.execute(Q["rollup_backlog_runs"], (row[0], limit)).fetchall()
    found: list[Added] = [
        ("ended", project, _facts(columns)) for _, project, counts, *columns in runs if counts
    ]
    _add(connection, Additions(found))
    if len(runs) < limit:
        connection.execute(Q["end_rollup_backlog"])
        connection.execute(Q["forget_rollup_open"], (0,))
    else:
        connection.execute(Q["move_rollup_backlog"], (runs[-1][0],))
        connection.execute(Q["forget_rollup_open"], (runs[-1][0],))
    return len(runs)


def _add(connection: sqlite3.Connection, additions: Additions) -> None:
    connection.executemany(Q["add_usage"], [(*key, *sums) for key, sums in additions.usage.items()])
    for key, (runs, took) in additions.activity.items():
        row = connection.execute(Q["activity_durations"], key).fetchone() if took else None
        durations = Counter() if row is None else unpacked(row[0])
        durations.update(took)
        connection.execute(Q["add_activity"], (*key, runs, packed(durations)))
    used, active = additions.emptied
    connection.executemany(Q["drop_empty_usage"], used)
    connection.executemany(Q["drop_empty_activity"], active)


def _facts(row: Iterable[Any]) -> Facts:
    values = list(row)
    values[_STATUS] = RunStatus(values[_STATUS])
    if values[-1] is not None:
        values[-1] = unpack_field(values[-1], text=False)
    return facts(*values)


def _usage(connection: sqlite3.Connection, query: UsageQuery) -> UsagePage:
    project = query.project_id
    backlog = connection.execute(Q["rollup_backlog"]).fetchone()
    rows = [_facts(row) for row in _edges(connection, query)]
    truncated = False
    if backlog is not None:
        most = limits.usage_backlog_max
        for _, since, until in query.cover.spans:
            arguments = (project, backlog[0], since, until, most + 1)
            found = connection.execute(Q["backlog_facts"], arguments).fetchall()
            truncated = truncated or len(found) > most
            rows += map(_facts, found[:most])
    entries = connection.execute(Q["rollup_entries_of"], (project,)).fetchall()
    unsummed = query.pending(entries, rows)

    def sums(way: str, groups: int, *, by_model: bool = False) -> WaySums:
        parts = (encode(value).decode() for value in (query.spans(way), lines(way, unsummed)))
        arguments = (project, way, *parts, groups, by_model)
        found = connection.execute(Q["usage_lines"], arguments).fetchall()
        return WaySums([Line(*row[:-1]) for row in found], found[0][-1] if found else 0)

    ended = sum(line.runs for line in sums("ended", 1).lines)
    active = connection.execute(Q["count_active"], (project, query.since, query.until)).fetchone()[0]
    ways = {way: sums(way, query.groups, by_model=way == "model") for way in query.ways}
    total = sums("model", 1).lines
    return UsagePage(ways, total, ended + active, truncated)


def _edges(connection: sqlite3.Connection, query: UsageQuery) -> Iterator[tuple[Any, ...]]:
    for since, until, over, under in query.edges:
        yield from connection.execute(Q["edge_facts"], (query.project_id, over, under, since, until))


def _activity(connection: sqlite3.Connection, query: ActivityQuery) -> list[Share] | None:
    if connection.execute(Q["rollup_backlog"]).fetchone() is not None:
        return None
    project = query.filters.project_ids[0]
    found = query.merged()
    for span in query.spans:
        sums = connection.execute(Q["activity_between"], (project, *query.way, *span))
        found.add(query.summed(sums))
    found.add(query.pending(connection.execute(Q["rollup_entries_of"], (project,))))
    for rows in (query.living, *map(query.ended, query.edges)):
        if rows is not None:
            found.add(shares(connection, rows, *query.where))
    return found.shares()


def _check(connection: sqlite3.Connection) -> list[str]:
    checker = RollupChecker()
    for project_id, *columns in connection.execute(Q["integrity_rollup_runs"]):
        checker.run(project_id, _facts(columns))
    for project_id, action, stored in connection.execute(Q["integrity_rollup_entries"]):
        checker.entry(project_id, action, decode_facts(stored))
    for row in connection.execute(Q["integrity_usage"]):
        checker.usage(*row)
    for row in connection.execute(Q["integrity_activity"]):
        checker.activity(*row)
    return checker.wrong()
