"""Integrity checks of a whole store, for `runstead db check`. They only read, and block no writer."""

from typing import NamedTuple, Protocol

import msgspec

from runstead.core.runs.invariants import CheckedRun


class IntegrityPage(NamedTuple):
    """Runs in the order of their seq.

    `orphans`: (table, run_seq) of rows up to the seq `reached` without a run.
    """

    runs: list[CheckedRun]
    orphans: list[tuple[str, int]]
    reached: int
    more: bool


class TableSize(NamedTuple):
    """The size of a table. `bytes` includes indexes, None if the engine does not know it. `part_of`: the
    table that this partition belongs to.
    """

    name: str
    rows: int
    bytes: int | None
    part_of: str | None = None


class Stats(msgspec.Struct, frozen=True):
    """The size of a store.

    `log_bytes`: the size of the write-ahead log. Row counts may be estimates of the engine.
    """

    engine: str
    bytes: int
    log_bytes: int | None
    tables: list[TableSize]
    runs: dict[str, int]  # by status
    oldest_pending_at: int | None
    events_per_run: float | None


class Integrity(Protocol):
    async def latest_seq(self) -> int:
        """Return the seq of the newest run, 0 if there is none. It is the final value of `reached`."""

    async def runs(self, after: int, limit: int) -> IntegrityPage:
        """Return the next runs with a seq greater than `after`, read at one moment. The last page also
        includes orphans after its last run.
        """

    async def others(self, check: str) -> list[tuple[object, ...]]:
        """Return at most a hundred rows that violate this check of `invariants.CHECKS`."""

    async def stats(self) -> Stats:
        """Return the sizes of the store and its tables."""

    async def medium(self) -> list[str]:
        """Run the engine's own checks of its storage. Returns a sentence for each problem."""
