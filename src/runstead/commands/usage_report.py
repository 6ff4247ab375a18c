"""What a project used and what it cost, in groups."""

from collections.abc import Sequence

from runstead import limits
from runstead.commands import locate
from runstead.commands.app import App
from runstead.commands.charts import check_span
from runstead.errors import Error
from runstead.price import PriceList
from runstead.principal import Principal, Scope, refuse_bound
from runstead.store import ReportQuery
from runstead.usage_report import WAYS, By, Reporter, UsageReport


async def report(app: App, principal: Principal, project: str, since: int, until: int, by: By) -> UsageReport:
    """What runs that were created in [since, until) (ms) reported, of the newest `limits.usage_runs_max` of them, by
    today's prices. INVALID_REQUEST, FORBIDDEN, NOT_FOUND.
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
    reporters = [Reporter(by, prices) for by in ways]
    looked, before = 0, None
    while True:
        limit = min(limits.usage_rows_max, limits.usage_runs_max + 1 - looked)
        page = await app.store.runs.reports(ReportQuery(found.id, since, until, limit, before))
        looked += page.looked
        truncated = looked > limits.usage_runs_max
        counted = [one for one in page.reports if not truncated or one.seq != page.reached]
        for reporter in reporters:
            reporter.add(counted)
        before = page.reached
        if truncated or page.looked < limit:
            looked = min(looked, limits.usage_runs_max)
            return [
                one.done(since=since, until=until, looked=looked, truncated=truncated) for one in reporters
            ]
