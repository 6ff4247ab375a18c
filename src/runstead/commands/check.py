"""Holds a whole store to its invariants, page by page: what `runstead db check` does."""

from collections.abc import AsyncIterator, Callable

from runstead.core import limits
from runstead.core.runs.invariants import CHECKS, Violation, broken, orphaned, violations
from runstead.ports.store import Store

Progress = Callable[[int, int, int], None]
"""(runs looked at, seq reached, seq of the newest run)"""


async def check(store: Store, progress: Progress = lambda *_: None) -> AsyncIterator[Violation]:
    """Every violation, as it is found. Only one page of runs is in memory; a server may write at the same time."""
    integrity = store.integrity
    for sentence in await integrity.medium():
        yield Violation("medium", sentence)
    newest = await integrity.latest_seq()
    after, looked, more = 0, 0, True
    while more:
        page = await integrity.runs(after, limits.integrity_rows_max)
        for one in page.runs:
            for found in violations(one):
                yield found
        for table, seq in page.orphans:
            yield orphaned(table, seq)
        after, more = page.reached, page.more
        looked += len(page.runs)
        progress(looked, after, max(newest, after))
    reached: int | None = -1
    while reached is not None:
        sentences, reached = await store.run_index.faults(reached)
        for sentence in sentences:
            yield Violation("the_index_finds_the_run", sentence)
    for name in CHECKS:
        for values in await integrity.others(name):
            yield broken(name, values)
    for sentence in await store.rollups.integrity():
        yield Violation("rollups", sentence)
