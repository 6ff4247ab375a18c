"""Convert bounds in time into bounds on the seq of runs, so that a part of a long list is read without the
rest.

Runs are numbered in the order in which they are stored. Their creation times follow that order, except for
the time between the clock and the commit, and for adjusted clocks. So a time is found by binary search, with
a margin of `order_slack_ms` on both sides.
"""

from collections.abc import Iterable

from msgspec.structs import replace

from runstead.commands import runs
from runstead.commands.app import App
from runstead.core import limits
from runstead.core.identity.principal import Principal
from runstead.core.usage.activity import RunSummary
from runstead.ports.store import Edge, RunQuery


async def with_seq_bounds(app: App, principal: Principal, project: str | None, query: RunQuery) -> RunQuery:
    """Return the query for this project, or for every project that the caller may read.

    For a single project, bounds on the seq are added that follow from the query's times. Raises FORBIDDEN,
    NOT_FOUND.
    """
    query = replace(query, project_ids=await runs.readable(app, principal, project))
    since, until = query.created_after, query.created_before
    if (since is None and until is None) or len(query.project_ids) != 1:
        return query
    over, under = await _bounds(app, query.project_ids[0], since, until)
    return replace(query, seq_over=over, seq_under=under)


async def edges(app: App, project_id: str, found: Iterable[tuple[int, int]]) -> list[Edge]:
    """Add bounds on the seq of their runs to periods [since, until)."""
    bounded = []
    for since, until in found:
        over, under = await _bounds(app, project_id, since, until)
        bounded.append(Edge(since, until, over or 0, limits.integer_max if under is None else under))
    return bounded


async def _bounds(
    app: App, project_id: str, since: int | None, until: int | None
) -> tuple[int | None, int | None]:
    newest = await _newest(app, project_id, None)
    if newest is None:
        return None, None
    over = under = None
    if since is not None:
        over, _ = await _around(app, project_id, newest, since - limits.order_slack_ms)
    if until is not None and until + limits.order_slack_ms <= newest.created_at:
        _, under = await _around(app, project_id, newest, until + limits.order_slack_ms)
    return over, under


async def _around(app: App, project_id: str, newest: RunSummary, at: int) -> tuple[int, int]:
    """Return two seqs at most `limits.order_near` apart: (last before, first from) the time `at`.

    Runs up to the first were created before `at`, runs from the second on were not.
    """
    low, high = 0, newest.seq + 1
    while high - low > limits.order_near:
        middle = (low + high) // 2
        found = await _newest(app, project_id, middle)
        if found is None or found.created_at < at:
            low = middle
        else:
            high = found.seq
    return low, high


async def _newest(app: App, project_id: str, up_to: int | None) -> RunSummary | None:
    before = None if up_to is None else (None, up_to + 1)
    found = await app.store.runs.summaries(RunQuery((project_id,), before=before, limit=1))
    return found[0] if found else None
