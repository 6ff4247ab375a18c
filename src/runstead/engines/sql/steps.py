"""What a noun asks of the database: generators that yield steps and receive their results.

A command of a noun is a generator function. It runs statements with `yield from`:

    prices = yield from select("prices", Price, project_id=project_id)

`sqlite_driver` runs a generator on a connection of SQLite, `postgres_driver` on one of PostgreSQL.
"""

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from enum import IntEnum
from itertools import takewhile
from typing import Any, NamedTuple, ParamSpec, Protocol, TypeAlias, TypeVar

from msgspec import Struct

from runstead.core import limits
from runstead.core.idempotency import Idempotency
from runstead.engines.sql.dialect import Statement, Update
from runstead.engines.sql.mapping import changed_fields, decoder, fields
from runstead.ports.store.list_page import ListPage

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
Arguments: TypeAlias = Mapping[str, Any]


class LockSpace(IntEnum):
    """What the names of a lock are names of. Servers of different versions share the numbers."""

    SCHEDULES = 1
    PUSH_SERVICES = 2
    SIGNING_KEYS = 3
    RUNNING = 4
    RUN_KEYS = 5
    WEBHOOKS = 51
    TRIGGERS = 52
    PRICES = 53
    ALERTS = 54
    BULK_JOBS = 55
    BUDGETS = 56
    PROJECTS = 61


class RaceLostError(Exception):
    """Another transaction changed what a command has read. The command is run again."""


class Select(NamedTuple):
    """Its result is a list of records, or of dicts (column → value) where `record` is None. `timed`: the first column is
    `{clock}`, and the list has pairs of the time and the record. `stop`: the first dict for which it is true, and those
    after it, are left out; SQLite does not read them.
    """

    statement: str
    arguments: Arguments
    record: Callable[..., Any] | None = None
    timed: bool = False
    stop: Callable[[dict[str, Any]], bool] | None = None


class SelectPage(NamedTuple):
    """Its result is a `ListPage` of at most `limit` records (or dicts), with at most `bytes_max` bytes of texts and
    values, but one at least. The engine reads no more than one row beyond. The statement has a parameter `limit`.
    """

    statement: str
    arguments: Arguments
    record: Callable[..., Any] | None
    limit: int
    bytes_max: int


class Each(NamedTuple):
    """Calls `use` with the columns of each row (column → value), a few rows at a time, in a snapshot. It has no result."""

    statement: str
    arguments: Arguments
    use: Callable[[dict[str, Any]], object]


class Execute(NamedTuple):
    """Its result is the number of rows that were written."""

    statement: str | Update
    arguments: Arguments


class ExecuteMany(NamedTuple):
    """One statement for many rows, which has no result."""

    statement: str
    rows: Sequence[Arguments]


class Changed(NamedTuple):
    """Reports a change of a record for the audit log: None before it is created, None after it is deleted. It has no
    result.
    """

    before: Any
    after: Any


class Lock(NamedTuple):
    """Locks names until the transaction ends, for what has no row to lock. SQLite has one writer and needs none."""

    space: LockSpace
    names: Sequence[str]


class Now(NamedTuple):
    """Its result is the engine's time now, in ms."""


class Call(NamedTuple):
    """Calls a function of the engine as `function(connection, *arguments)`, in the transaction. Its result is the
    function's.
    """

    function: Callable[..., Any]
    arguments: tuple[Any, ...]


Step: TypeAlias = Select | SelectPage | Each | Execute | ExecuteMany | Changed | Lock | Now | Call
Steps: TypeAlias = Generator[Step, Any, T]


class Session(Protocol):
    """Runs the steps of commands on an engine."""

    async def read(self, steps: Callable[P, Steps[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `steps(*args, **kwargs)` on a connection that cannot write. May run twice, after a lost connection."""

    async def write(
        self, command: Callable[[int], Steps[T]], idempotency: Idempotency = None, *, quick: bool = False
    ) -> T:
        """Run `command(now in ms)` in a transaction and return its result once that is durable.

        The command may run again: it has no other effects. `quick`: it takes well under a millisecond.
        """


class Database(Session, Protocol):
    async def scan(self, steps: Callable[P, Steps[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """As `read`, for what may take long. It has a deadline, and tenants share its connections.

        Raises QUERY_TOO_SLOW, PROJECT_BUSY, STORE_BUSY.
        """

    async def page(self, steps: Callable[P, Steps[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """As `scan`, for a list, which a standby of the database may serve. The steps do not ask for the time."""

    async def snapshot(self, steps: Callable[P, Steps[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """As `page`, for a read of much data. All its statements see the store at one moment."""

    async def settle(self) -> None:
        """Wait until every transaction has ended that may have begun before this call, for a limited time."""


def select(statement: str, record: Callable[..., R], **arguments: Any) -> Steps[list[R]]:
    rows: list[R] = yield Select(statement, arguments, record)
    return rows


def select_page(
    statement: str, record: Callable[..., R] | None, *, limit: int, **arguments: Any
) -> Steps[ListPage[R]]:
    """At most `limit` records, and at most `limits.list_page_bytes_max` of them."""
    page: ListPage[R] = yield SelectPage(statement, arguments, record, limit, limits.list_page_bytes_max)
    return page


def select_timed(statement: str, record: Callable[..., R], **arguments: Any) -> Steps[list[tuple[int, R]]]:
    """(the engine's time in ms, record) for each row."""
    rows: list[tuple[int, R]] = yield Select(statement, arguments, record, timed=True)
    return rows


def first(statement: str, record: Callable[..., R], **arguments: Any) -> Steps[R | None]:
    """The record of the first row, or None."""
    rows = yield from select(statement, record, **arguments)
    return rows[0] if rows else None


def select_rows(
    statement: str, stop: Callable[[dict[str, Any]], bool] | None = None, **arguments: Any
) -> Steps[list[dict[str, Any]]]:
    """Column → value, for each row up to the first for which `stop` is true."""
    rows: list[dict[str, Any]] = yield Select(statement, arguments, stop=stop)
    return rows


def each(statement: str, use: Callable[[dict[str, Any]], object], **arguments: Any) -> Steps[None]:
    yield Each(statement, arguments, use)


def values(statement: str, **arguments: Any) -> Steps[list[Any]]:
    """The only column of each row."""
    rows = yield from select_rows(statement, **arguments)
    return [value for row in rows for value in row.values()]


def value(statement: str, **arguments: Any) -> Steps[Any]:
    """The only column of the first row, or None."""
    found = yield from values(statement, **arguments)
    return found[0] if found else None


def execute(statement: str, record: Struct | None = None, **arguments: Any) -> Steps[int]:
    """The number of rows that were written. The fields of `record` are arguments too."""
    written: int = yield Execute(statement, arguments if record is None else {**fields(record), **arguments})
    return written


def execute_many(statement: str, rows: Iterable[Arguments]) -> Steps[None]:
    if given := list(rows):
        yield ExecuteMany(statement, given)


def rewrite(table: str, old: Any, new: Any, *, versioned: bool = False) -> Steps[None]:
    """Write the fields that differ to the row with the id of `old`, which this transaction holds. `versioned`: the row
    must have the version of `old`.
    """
    if changed := changed_fields(old, new):
        guard = {"id": old.id, "old_version": old.version} if versioned else {"id": old.id}
        written: int = yield Execute(Update(table, tuple(changed), versioned), changed | guard)
        assert written == 1, (table, old.id)


def changed(before: Any, after: Any) -> Steps[None]:
    yield Changed(before, after)


def lock(space: LockSpace, names: Sequence[str]) -> Steps[None]:
    yield Lock(space, names)


def now() -> Steps[int]:
    """The engine's time now, in ms: after a wait for a lock it is later than the command's."""
    time: int = yield Now()
    return time


def size_of(row: Iterable[Any]) -> int:
    """The number of bytes of the texts and values of a row."""
    return sum([len(value) for value in row if isinstance(value, (str, bytes))])


def bind(statement: Statement, arguments: Arguments) -> list[Any]:
    """The arguments in the order of the statement's parameters. KeyError where one is missing."""
    return [arguments[name] for name in statement.parameters]


class Results:
    """Makes the results of `Select` steps. The decoder of a statement is derived once, from its first rows."""

    def __init__(self, tick: Callable[[int], int]) -> None:
        """`tick` turns a time of the database into the engine's, in ms."""
        self._tick = tick
        self._decoders: dict[tuple[str, Callable[..., Any]], Callable[[Sequence[Any]], Any]] = {}

    def page(self, step: SelectPage, columns: Iterable[str], rows: Iterable[Any]) -> ListPage[Any]:
        """`rows`: those of the page and one more if there is one; read as far as they are needed."""
        kept: list[Any] = []
        size = 0
        more = False
        for row in rows:
            size += size_of(row)
            more = len(kept) == step.limit or (bool(kept) and size > step.bytes_max)
            if more:
                break
            kept.append(row)
        return ListPage(self.of(Select(step.statement, {}, step.record), columns, kept), more)

    def of(self, step: Select, columns: Iterable[str], rows: Iterable[Any]) -> list[Any]:
        """`columns`: the names of the columns that the statement returned."""
        record = step.record
        if record is None:
            names = tuple(columns)
            found = (dict(zip(names, row, strict=True)) for row in rows)
            stop = step.stop
            return list(found if stop is None else takewhile(lambda row: not stop(row), found))
        decode = self._decoders.get((step.statement, record))
        if decode is None:
            decode = decoder(record, tuple(columns)[1 if step.timed else 0 :])
            self._decoders[step.statement, record] = decode
        if step.timed:
            return [(self._tick(row[0]), decode(row[1:])) for row in rows]
        return [decode(row) for row in rows]
