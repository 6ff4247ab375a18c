"""What a project used and what it cost, in groups."""

from collections.abc import Sequence

from runstead import limits
from runstead.commands import locate, stretches
from runstead.commands.app import App
from runstead.commands.charts import check_span
from runstead.errors import Error
from runstead.price import PriceList
from runstead.principal import Principal, Scope, refuse_bound
from runstead.rollup import QUARTER, cover
from runstead.store import UsageQuery
from runstead.usage_report import WAYS, By, UsageReport, groups_of, total_of


async def report(app: App, principal: Principal, project: str, since: int, until: int, by: By) -> UsageReport:
    """What runs that were created in [since, until) (ms) reported, by today's prices. INVALID_REQUEST, FORBIDDEN,
    NOT_FOUND.
    """
    return (await reports(app, principal, project, since, until, (by,)))[0]


async def reports(
    app: App, principal: Principal, project: str, since: int, until: int, ways: Sequence[By]
) -> list[UsageReport]:
    """The same told in several ways, of one reading."""
    refuse_bound(principal, "reads no others")
    check_span(since, until)
    for by in ways:
        if by not in WAYS:
            raise Error("INVALID_REQUEST", f"Usage is told by one of {', '.join(WAYS)}, not {by!r}")
    found = await locate.project(app, principal, Scope.RUNS_READ, project)
    prices = PriceList(await app.store.prices.of(found.id))
    edges = await stretches.edges(app, found.id, cover(since, until, (QUARTER,)).edges)
    query = UsageQuery(found.id, since, until, ways, limits.usage_groups_max, edges)
    page = await app.store.rollups.usage(query)
    total = total_of(page.total, prices)
    return [
        UsageReport(
            by,
            since,
            until,
            groups_of(by, page.ways[by].lines, prices),
            max(0, page.ways[by].groups - limits.usage_groups_max),
            total,
            page.runs,
            page.truncated,
        )
        for by in ways
    ]
