"""Check a whole store against its invariants, page by page, for `runstead db check`."""

from collections.abc import AsyncIterator, Callable

from runstead.core import limits
from runstead.core.runs.invariants import CHECKS, Violation, broken, orphaned, violations
from runstead.ports.store import Store

Progress = Callable[[int, int, int], None]
"""(runs checked, seq reached, seq of the newest run)"""


async def check(store: Store, progress: Progress = lambda *_: None) -> AsyncIterator[Violation]:
    """Yield each violation as it is found.

    One page of runs is in memory; servers may write at the same time.
    """
    integrity = store.integrity
    for sentence in await integrity.medium():
        yield Violation("medium", sentence)
    newest = await integrity.latest_seq()
    after, checked, more = 0, 0, True
    while more:
        page = await integrity.runs(after, limits.integrity_rows_max)
        for run in page.runs:
            for found in violations(run):
                yield found
        for table, seq in page.orphans:
            yield orphaned(table, seq)
        after, more = page.reached, page.more
        checked += len(page.runs)
        progress(checked, after, max(newest, after))
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
