"""Data of the charts: runs over time, and the targets that they have."""

from typing import Final

from msgspec.structs import replace

from runstead.commands import seq_bounds
from runstead.commands.access import Access, needs
from runstead.commands.app import App
from runstead.core import limits
from runstead.core.errors import Error, invalid_at
from runstead.core.identity.principal import Principal, Scope
from runstead.core.runs.run import OMITTABLE
from runstead.core.usage.activity import Activity, Grid, Share, grid, shares_of, summarize
from runstead.core.usage.rollup import cover
from runstead.ports.store import ActivityQuery, RunQuery

#: The members of a query that sums distinguish, or that do not filter.
_SUMMED: Final = (
    *("project_ids", "statuses", "kinds", "targets", "schedule_id", "created_after", "created_before"),
    *("limit", "seq_over", "seq_under"),
)


async def activity(
    app: App,
    principal: Principal,
    project: str | None,
    filters: RunQuery,
    since: int,
    until: int,
    buckets: int,
) -> Activity:
    """Count matching runs that were created in [since, until) (ms), in about `buckets` buckets.

    The runs are of one project, or of every project that the caller may read. `activity.grid` chooses the
    buckets. The projects, sort, cursor, limit and times of `filters` are ignored. If no sums
    distinguish the filters, only the newest `limits.chart_runs_max` runs are counted. Raises INVALID_REQUEST,
    FORBIDDEN, NOT_FOUND.
    """
    check_span(since, until)
    if not 1 <= buckets <= limits.chart_buckets_max:
        raise Error("INVALID_REQUEST", f"A chart has 1 to {limits.chart_buckets_max} buckets, not {buckets}")
    query = replace(
        filters, created_after=since - 1, created_before=until, sort="created_at", before=None, limit=0
    )
    query = await seq_bounds.with_seq_bounds(app, principal, project, query)
    where = grid(since, until, buckets)
    if not _has_sums(query):
        return await _of_newest(app, query, since, until, where)
    shares = await _from_sums(app, query, since, until, where)
    if shares is None:
        shares = await app.store.runs.shares(query, where.origin, where.width)
    return summarize(shares, since=since, until=until, where=where)


def _has_sums(query: RunQuery) -> bool:
    """Whether the sums of each project distinguish all filters of the query."""
    plain = RunQuery(**{name: getattr(query, name) for name in _SUMMED})
    return query == plain and len(query.targets) + (query.schedule_id is not None) <= 1


async def _of_newest(app: App, query: RunQuery, since: int, until: int, where: Grid) -> Activity:
    """Count the newest matching runs, which are read one by one."""
    most = limits.chart_runs_max
    runs = await app.store.runs.summaries(replace(query, limit=most + 1))
    counted_since = runs[most - 1].created_at if len(runs) > most else None
    shares = shares_of(runs[:most], where)
    return replace(summarize(shares, since=since, until=until, where=where), counted_since=counted_since)


async def _from_sums(app: App, query: RunQuery, since: int, until: int, where: Grid) -> list[Share] | None:
    """Return the shares from sums. None: the sums are wider than the buckets."""
    if len(query.project_ids) != 1 or not where.widths:
        return None
    edges = await seq_bounds.edges(app, query.project_ids[0], cover(since, until, where.widths).edges)
    return await app.store.rollups.activity(
        ActivityQuery(
            filters=query, since=since, until=until, origin=where.origin, width=where.width, edges=edges
        )
    )


@needs(Scope.RUNS_READ, bound="cannot read other runs")
async def targets(access: Access) -> list[str]:
    """Return targets of the project's runs, in order, at most `limits.targets_listed_max`.

    Of the runs that have not ended, only the newest are read. Raises FORBIDDEN, NOT_FOUND.
    """
    store, project_id = access.store, access.project_id
    names = set(await store.rollups.targets(project_id, limits.targets_listed_max))
    query = RunQuery((project_id,), limit=limits.targets_searched_runs_max, omit=OMITTABLE)
    names |= {run.target for run in (await store.runs.page(query)).rows if run.target}
    return sorted(names)[: limits.targets_listed_max]


def check_span(since: int, until: int) -> None:
    """Raise INVALID_REQUEST unless [since, until) is a period between 1970 and 9999."""
    if not 0 <= since < until <= limits.timestamp_ms_max:
        raise invalid_at(
            "$.since",
            "not before `until`",
            "`since` must lie before `until`, both between 1970 and the year 9999",
        )
