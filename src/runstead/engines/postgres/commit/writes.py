"""Rows to write, and how: statements on different rows go to the database as one.

Every shape of such a statement is prepared, planned and kept in every session, so there are few of them: new runs with
few columns or with all, changed runs with what an append moves, with all that moves or also with what a completion brings,
events, entries of roll-ups, and answers to keys; and the same where just one run is written. What else there is to write
is rare, and goes by itself.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Any, Final

from runstead.core.runs.run import Run
from runstead.core.runs.write_set import changed_fields
from runstead.engines.postgres.connection import Connection
from runstead.engines.postgres.rows import columns_of
from runstead.engines.postgres.sql import (
    APPENDED,
    BROUGHT,
    COUNTERS,
    CREATED,
    MOVING,
    STORED,
    insert_runs,
    of_one,
    together,
    update_runs,
)

_MOVING: Final = tuple(field for field in STORED if field in MOVING)
_OTHERS: Final = frozenset(STORED) - MOVING
_ONLY_APPENDED: Final = frozenset({*APPENDED, *COUNTERS})  # counters are rows of their own
_FURTHER: Final = tuple(field for field in STORED if field not in CREATED)
_NOTHING_FURTHER: Final = (None,) * len(_FURTHER)
_NOTHING_BROUGHT: Final = (None,) * len(BROUGHT)

_stored, _created, _further = attrgetter(*STORED), attrgetter(*CREATED), attrgetter(*_FURTHER)
_moving, _appended = attrgetter(*_MOVING), attrgetter(*APPENDED)

_INSERT_FEW: Final = insert_runs(CREATED)
_INSERT_ALL: Final = insert_runs(STORED)
_APPEND: Final = update_runs(APPENDED)
_MOVE: Final = update_runs(_MOVING)
_COMPLETE: Final = update_runs(_MOVING, BROUGHT)


class Write:
    """What one statement writes: so many rows, or it is a mistake."""

    __slots__ = ("rows", "statement")

    def __init__(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        self.statement = statement
        self.rows = rows

    def alone(self) -> "Write":
        """The same with its only row as arguments."""
        [row] = self.rows
        return _OfOne(of_one(self.statement), [row])

    @property
    def arguments(self) -> list[Any]:
        return columns_of(self.rows)

    async def run(self, connection: Connection) -> None:
        told = await connection.execute(self.statement, *self.arguments)
        assert int(told.rpartition(" ")[2]) == len(self.rows), (told, len(self.rows))


class _OfOne(Write):
    __slots__ = ()

    @property
    def arguments(self) -> list[Any]:
        return list(self.rows[0])


async def run_together(connection: Connection, writes: Sequence[Write], *, few: bool = False) -> None:
    """All of them, each guarded by how many rows it has to write. No two may write the same row. `few`: one run is
    written, so that what has one row may take it as arguments; else there would be too many shapes.
    """
    if few:
        writes = [write.alone() if len(write.rows) == 1 else write for write in writes]
    if len(writes) < 2:
        for write in writes:
            await write.run(connection)
        return
    arguments = [value for write in writes for value in write.arguments]
    written = await connection.fetchrow(together(tuple(write.statement for write in writes)), *arguments)
    assert tuple(written) == tuple(len(write.rows) for write in writes), written


def inserted(runs: Sequence[Run]) -> Write:
    """New runs."""
    if all(_further(run) == _NOTHING_FURTHER for run in runs):
        return Write(_INSERT_FEW, [_created(run) for run in runs])
    return Write(_INSERT_ALL, [_stored(run) for run in runs])


def updated(changed: Iterable[tuple[Run, Run]]) -> tuple[Write | None, list[Write]]:
    """What differs, guarded by the versions that were read: what nearly every transition writes, for all rows at once,
    and the rare rest, rows that change the same columns together.
    """
    usual: list[tuple[Run, Run]] = []
    brought: list[tuple[Any, ...]] = []
    rare: dict[tuple[str, ...], list[tuple[Any, ...]]] = defaultdict(list)
    only_appended = True
    for old, new in changed:
        differing = changed_fields(old, new)
        others = [name for name in differing if name in _OTHERS]
        brings: tuple[Any, ...] = _NOTHING_BROUGHT
        if others:
            if any(name not in BROUGHT or getattr(new, name) is None for name in others):
                columns = (*_MOVING, *others)
                rare[columns].append((old.seq, old.version, *attrgetter(*columns)(new)))
                continue
            brings = tuple(getattr(new, name) if name in others else None for name in BROUGHT)
        usual.append((old, new))
        brought.append(brings)
        only_appended = only_appended and _ONLY_APPENDED.issuperset(differing)
    rest = [Write(update_runs(columns), rows) for columns, rows in rare.items()]
    if not usual:
        return None, rest
    if all(brings is _NOTHING_BROUGHT for brings in brought):
        if only_appended:
            return Write(_APPEND, [(old.seq, old.version, *_appended(new)) for old, new in usual]), rest
        return Write(_MOVE, [(old.seq, old.version, *_moving(new)) for old, new in usual]), rest
    rows = [
        (old.seq, old.version, *_moving(new), *brings)
        for (old, new), brings in zip(usual, brought, strict=True)
    ]
    return Write(_COMPLETE, rows), rest
