"""The statements that write rows: several on different rows are sent to the database as one.

Every session prepares, plans and caches each shape of such a statement, so there are few shapes: new runs with few columns
or with all; changed runs with the columns of an append (and its progress), with all columns that usually move, or with those of a
completion too; events; roll-up entries; idempotency records; and the same for a single run. Other writes are rare and are
statements of their own.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Any, Final

from runstead.core.runs.run import Run
from runstead.core.runs.write_set import changed_fields
from runstead.engines.postgres.connection import Connection
from runstead.engines.postgres.rows import columns_of, text_of
from runstead.engines.postgres.sql import (
    APPENDED,
    BROUGHT,
    COUNTERS,
    CREATED,
    MOVING,
    STORED,
    insert_runs,
    numbers,
    of_one,
    together,
    update_runs,
)

_MOVING: Final = tuple(field for field in STORED if field in MOVING)
_OTHERS: Final = frozenset(STORED) - MOVING
_PROGRESSED: Final = (*APPENDED, "progress")
_ONLY_APPENDED: Final = frozenset({*_PROGRESSED, *COUNTERS})  # counters are rows of their own
_REST: Final = tuple(field for field in STORED if field not in CREATED)
_NO_REST: Final = (None,) * len(_REST)
_NO_COMPLETION: Final = (None,) * len(BROUGHT)

_stored, _created, _rest_of = attrgetter(*STORED), attrgetter(*CREATED), attrgetter(*_REST)
_moving, _appended, _progressed = attrgetter(*_MOVING), attrgetter(*APPENDED), attrgetter(*_PROGRESSED)

_INSERT_FEW: Final = insert_runs(CREATED)
_INSERT_ALL: Final = insert_runs(STORED)
_APPEND: Final = update_runs(APPENDED)
_PROGRESS: Final = update_runs(_PROGRESSED)
_MOVE: Final = update_runs(_MOVING)
_COMPLETE: Final = update_runs(_MOVING, BROUGHT)


class Write:
    """A statement and its rows. It asserts that it writes as many rows."""

    __slots__ = ("rows", "statement")

    def __init__(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        self.statement = statement
        self.rows = rows

    def alone(self) -> "Write":
        """The same write with the values of its only row as arguments."""
        [row] = self.rows
        return _OfOne(of_one(self.statement), [row])

    @property
    def arguments(self) -> list[Any]:
        sent_as_text = numbers(self.statement)
        return [
            text_of(column) if place in sent_as_text else column
            for place, column in enumerate(columns_of(self.rows))
        ]

    async def run(self, connection: Connection) -> None:
        status = await connection.execute(self.statement, *self.arguments)
        assert int(status.rpartition(" ")[2]) == len(self.rows), (status, len(self.rows))


class _OfOne(Write):
    __slots__ = ()

    @property
    def arguments(self) -> list[Any]:
        return list(self.rows[0])


async def run_together(connection: Connection, writes: Sequence[Write], *, few: bool = False) -> None:
    """Run writes as one statement. Each asserts its number of rows; no two may write the same row.

    `few`: a single run is written, so writes of one row take its values as arguments. Otherwise there would be too many
    shapes.
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
    if all(_rest_of(run) == _NO_REST for run in runs):
        return Write(_INSERT_FEW, [_created(run) for run in runs])
    return Write(_INSERT_ALL, [_stored(run) for run in runs])


def updated(changed: Iterable[tuple[Run, Run]]) -> tuple[Write | None, list[Write]]:
    """The updates of changed runs, guarded by the versions that were read.

    The first is one write for all runs that change the usual columns. The others are rare: one write for all runs that
    change the same further columns.
    """
    usual: list[tuple[Run, Run]] = []
    brought: list[tuple[Any, ...]] = []
    rare: dict[tuple[str, ...], list[tuple[Any, ...]]] = defaultdict(list)
    only_appended = True
    for old, new in changed:
        differing = changed_fields(old, new)
        others = [name for name in differing if name in _OTHERS]
        brings: tuple[Any, ...] = _NO_COMPLETION
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
    if all(brings is _NO_COMPLETION for brings in brought):
        if only_appended:
            return Write(_APPEND, [(old.seq, old.version, *_appended(new)) for old, new in usual]), rest
        return Write(_MOVE, [(old.seq, old.version, *_moving(new)) for old, new in usual]), rest
    if only_appended:
        return Write(_PROGRESS, [(old.seq, old.version, *_progressed(new)) for old, new in usual]), rest
    rows = [
        (old.seq, old.version, *_moving(new), *brings)
        for (old, new), brings in zip(usual, brought, strict=True)
    ]
    return Write(_COMPLETE, rows), rest
