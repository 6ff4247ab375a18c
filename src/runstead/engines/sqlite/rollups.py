"""Roll-ups of usage and activity in a SQLite file."""

import asyncio
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import msgspec

from runstead.core.usage.rollup import Action, Additions, Entry, decode_facts, end_of, moved, packed, unpacked
from runstead.engines.sql.pacing import paced
from runstead.engines.sql.rollups import SqlRollups, drop_empty
from runstead.engines.sql.steps import Database, value
from runstead.engines.sqlite.page import shares
from runstead.engines.sqlite.readers import Readers
from runstead.engines.sqlite.related import DRIVER
from runstead.engines.sqlite.rows import to_run
from runstead.engines.sqlite.sql import Q
from runstead.engines.sqlite.writer import Writer

#: The entries of `rollup_entries`, with the facts in hex.
_entries = msgspec.json.Decoder(list[tuple[Action, str, str]])


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


class SqliteRollups(SqlRollups):
    def __init__(self, database: Database, writer: Writer, readers: Readers) -> None:
        super().__init__(database, shares)
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
        if await self._database.read(value, "rollup_backlog") is None:
            return 0
        return await self._writer.do(
            lambda c, _: DRIVER.run(c, self._catch_up(limit, _add)), keeps_cache=True
        )

    async def integrity(self) -> list[str]:
        return await self._database.snapshot(self._check)


def _add(connection: sqlite3.Connection, additions: Additions) -> None:
    connection.executemany(Q["add_usage"], [(*key, *sums) for key, sums in additions.usage.items()])
    for key, (runs, took) in additions.activity.items():
        row = connection.execute(Q["activity_durations"], key).fetchone() if took else None
        durations = Counter() if row is None else unpacked(row[0])
        durations.update(took)
        connection.execute(Q["add_activity"], (*key, runs, packed(durations)))
    DRIVER.run(connection, drop_empty(additions))
