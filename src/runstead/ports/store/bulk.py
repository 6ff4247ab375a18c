"""A store as plain tables, for `runstead db copy`: the same names, columns and values whatever the engine.

The one form: a run's row has all fields of `run.Run`, a root's `root_seq` is its own; an event names its run and number; a
family's order is complete; a batch's row has its counters; truth is 0 or 1; nothing is compressed. Times, texts, integers and bytes are what they are.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple, Protocol

#: Tables of an engine that no copy carries, and why. Any other that the two stores do not share is refused.
NOT_COPIED: Final = {
    "schema_migrations": "each store has its own",
    "copy_progress": "of the copy itself",
    "pulse": "what the health check writes",
    "run_families": "made again from the runs and their order",
    "batch_counts": "made again from the batches and their runs",
    "leadership": "of the servers that run",
    "replicas": "of the servers that run",
    "browser_sessions": "a browser signs in again",
    "run_leftovers": "events that nobody finds are left behind",
    "run_index": "the loop makes the index of runs again",
    "run_terms": "the loop makes the index of runs again",
    "run_index_changes": "the loop makes the index of runs again",
}


class Table(NamedTuple):
    """`columns` by name; `references`: the tables whose rows must be there first."""

    columns: tuple[str, ...]
    references: frozenset[str]


class Rows(NamedTuple):
    """Some rows, and the mark behind the last of them: None at the end of the table."""

    rows: list[tuple[Any, ...]]
    mark: bytes | None


class Progress(NamedTuple):
    """How far a copy into a store has come. `source` says of which store, as it stood; `marks`: table → mark behind what
    is there, empty for a table that is there whole.
    """

    source: bytes
    marks: dict[str, bytes]


class Bulk(Protocol):
    async def open_source(self) -> None:
        """For reading, all from one moment. Until `close` nobody can write: RuntimeError where somebody does."""
        ...

    async def open_target(self) -> None: ...

    async def close(self) -> None: ...

    async def tables(self) -> dict[str, Table]:
        """All but those in `NOT_COPIED`."""
        ...

    async def state(self) -> bytes:
        """Tells this store from any other, and from itself as it stood before a write to its runs or messages."""
        ...

    async def count(self, table: str) -> int:
        """How many rows, about."""
        ...

    async def sequences(self) -> dict[str, int]:
        """Table → the last number that was given to one of its rows, whether it is still there or not."""
        ...

    async def read(self, table: str, mark: bytes | None) -> Rows:
        """The next rows, a few MiB at most, their values in the order of `Table.columns`."""
        ...

    async def is_empty(self, table: str) -> bool: ...

    async def begin(self, source: bytes) -> None:
        """Note that a copy begins."""
        ...

    async def progress(self) -> Progress | None:
        """What is noted; None where no copy has begun, or one has ended."""
        ...

    async def write(self, table: str, rows: Sequence[tuple[Any, ...]], mark: bytes) -> None:
        """Store the rows and the mark, in one transaction."""
        ...

    async def settle(self, sequences: dict[str, int]) -> None:
        """Make what follows from the rows, and go on counting where the source would. May be done again."""
        ...

    async def end(self) -> None:
        """Forget that there was a copy."""
        ...
