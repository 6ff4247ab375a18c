"""Looks over the whole of a store, for `runstead db check`. They read, and nobody waits for them."""

from typing import NamedTuple, Protocol

import msgspec

from runstead.core.runs.invariants import CheckedRun


class IntegrityPage(NamedTuple):
    """Some runs in the order of their seq. `orphans`: (table, run_seq) of rows up to `reached` whose run is not there."""

    runs: list[CheckedRun]
    orphans: list[tuple[str, int]]
    reached: int
    more: bool


class TableSize(NamedTuple):
    """`bytes` with its indexes; None where the engine cannot tell. `part_of`: the table whose partition it is."""

    name: str
    rows: int
    bytes: int | None
    part_of: str | None = None


class Stats(msgspec.Struct, frozen=True):
    """`log_bytes`: what the write-ahead log takes up. Rows may be the engine's estimate."""

    engine: str
    bytes: int
    log_bytes: int | None
    tables: list[TableSize]
    runs: dict[str, int]  # by status
    oldest_pending_at: int | None
    events_per_run: float | None


class Integrity(Protocol):
    async def latest_seq(self) -> int:
        """Of the newest run, 0 where there is none: what `reached` grows to."""
        ...

    async def runs(self, after: int, limit: int) -> IntegrityPage:
        """The next runs with a seq over `after`, all that is told of them from one moment. The last page looks for
        orphans beyond its runs, too.
        """
        ...

    async def others(self, check: str) -> list[tuple[object, ...]]:
        """What violates one of `invariants.CHECKS`, a hundred at most."""
        ...

    async def stats(self) -> Stats:
        """How large it is, and what is in it."""
        ...

    async def medium(self) -> list[str]:
        """What the engine itself finds wrong with what it stores, each as a sentence."""
        ...
