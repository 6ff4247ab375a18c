"""A store as plain tables, for `runstead db copy`: names, columns and values are the same for every engine.

The common form: the row of a run has all fields of `run.Run`, and the `root_seq` of a root run is its own
seq. An event has the seq of its run and its number. The order of a family is complete. The row of a batch has
its counters. Booleans are 0 or 1, and no value is compressed. Times, texts, integers and bytes are unchanged.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple, Protocol

#: Tables that are not copied, and why. Any other table that only one of the two stores has is refused.
NOT_COPIED: Final = {
    "schema_migrations": "each store has its own",
    "copy_progress": "used by the copy itself",
    "pulse": "written by the health check",
    "audit_expiry": "empty outside of a transaction",
    "run_families": "computed from the runs and their order",
    "batch_counts": "computed from the batches and their runs",
    "leadership": "state of running servers",
    "replicas": "state of running servers",
    "standby_markers": "written by sessions of running servers",
    "browser_sessions": "users sign in again",
    "run_leftovers": "events of deleted runs",
    "rollup_folds": "a counter of the roll-up loop",
    "run_index": "the run index is built again",
    "run_terms": "the run index is built again",
    "run_index_changes": "the run index is built again",
}


class Table(NamedTuple):
    """A table. `columns` are names; `references`: the tables whose rows must be copied first."""

    columns: tuple[str, ...]
    references: frozenset[str]


class Rows(NamedTuple):
    """A page of rows. `mark` is the position after the last row, None at the end of the table."""

    rows: list[tuple[Any, ...]]
    mark: bytes | None


class Progress(NamedTuple):
    """The progress of a copy into a store. `source`: the `state` of the copied store. `marks`: table →
    position after the copied rows, empty for a table that is completely copied.
    """

    source: bytes
    marks: dict[str, bytes]


class Bulk(Protocol):
    async def open_source(self, *, online: bool = False) -> None:
        """Open the store for reading at one moment, until `close`.

        It blocks all writers, and RuntimeError if one is active. `online`: it blocks none, and later writes are not
        seen.
        """

    async def open_target(self) -> None: ...

    async def close(self) -> None: ...

    async def tables(self) -> dict[str, Table]:
        """Return all tables but those in `NOT_COPIED`."""

    async def state(self) -> bytes:
        """Return a fingerprint that differs for every other store, and changes with every write of runs or messages."""

    async def count(self, table: str) -> int:
        """Return the approximate number of rows."""

    async def sequences(self) -> dict[str, int]:
        """Table → the last sequence number of its rows, including deleted rows."""

    async def read(self, table: str, mark: bytes | None) -> Rows:
        """Return the next rows, at most a few MiB, with values in the order of `Table.columns`."""

    async def is_empty(self, table: str) -> bool: ...

    async def begin(self, source: bytes) -> None:
        """Record that a copy begins."""

    async def progress(self) -> Progress | None:
        """Return the recorded progress, None if no copy has begun or the copy has ended."""

    async def write(self, table: str, rows: Sequence[tuple[Any, ...]], mark: bytes) -> None:
        """Store the rows and the position in one transaction."""

    async def settle(self, sequences: dict[str, int]) -> None:
        """Compute what is derived from the rows, and set the sequences. It can be repeated."""

    async def end(self) -> None:
        """Delete the recorded progress."""
