"""Usage and cost of a project, in groups."""

from collections.abc import Sequence

from runstead.commands import locate, seq_bounds
from runstead.commands.app import App
from runstead.commands.charts import check_span
from runstead.core import limits
from runstead.core.errors import Error, invalid_at
from runstead.core.identity.principal import Principal, Scope, refuse_bound
from runstead.core.usage.price import PriceList
from runstead.core.usage.report import WAYS, By, UsageReport, groups_of, total_of
from runstead.core.usage.rollup import QUARTER, USAGE_WIDTHS, cover
from runstead.ports.store import UsageQuery


async def report(app: App, principal: Principal, project: str, since: int, until: int, by: By) -> UsageReport:
    """Report the usage of runs that were created in [since, until) (ms), at current prices.

    Raises INVALID_REQUEST, FORBIDDEN, NOT_FOUND.
    """
    return (await reports(app, principal, project, since, until, (by,)))[0]


async def reports(
    app: App, principal: Principal, project: str, since: int, until: int, ways: Sequence[By]
) -> list[UsageReport]:
    """Report the usage in several groupings, from one snapshot."""
    refuse_bound(principal, "cannot read other runs")
    check_span(since, until)
    for by in ways:
        if by not in WAYS:
            raise Error("INVALID_REQUEST", f"Usage is grouped by one of {', '.join(WAYS)}, not {by!r}")
    found = await locate.project(app, principal, Scope.RUNS_READ, project)
    if "family" in ways:
        await _refuse_too_many_families(app, found.id, since, until)
    prices = PriceList(await app.store.prices.of(found.id))
    edges = await seq_bounds.edges(app, found.id, cover(since, until, (QUARTER,)).edges)
    query = UsageQuery(
        project_id=found.id, since=since, until=until, ways=ways, groups=limits.usage_groups_max, edges=edges
    )
    page = await app.store.rollups.usage(query)
    total = total_of(page.total, prices)
    return [
        UsageReport(
            by=by,
            since=since,
            until=until,
            groups=groups_of(by, page.ways[by].lines, prices),
            groups_left_out=max(0, page.ways[by].groups - limits.usage_groups_max),
            total=total,
            runs=page.runs,
            truncated=page.truncated,
        )
        for by in ways
    ]


async def _refuse_too_many_families(app: App, project_id: str, since: int, until: int) -> None:
    """Raise INVALID_REQUEST for too many families, which would need much time and memory."""
    most = limits.usage_families_max
    for span in cover(since, until, USAGE_WIDTHS["family"]).spans:
        if await app.store.rollups.families(project_id, span, most + 1) > most:
            raise invalid_at(
                "$.since",
                "the period has too many families",
                f"There are more than {most:,} families of runs in this period: choose a shorter period or another"
                " grouping",
            )
