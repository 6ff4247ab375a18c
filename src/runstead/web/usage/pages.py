"""Usage: what the runs of a project reported to have used, what that cost, and the prices by which it is told."""

from datetime import timedelta
from typing import Final

import msgspec
from starlette.responses import Response

from runstead.commands import prices as price_commands, projects, schedules, usage_report as commands
from runstead.core.clock import now_ms
from runstead.core.errors import Error
from runstead.core.identity.principal import Scope
from runstead.core.identity.project import Project, user_uuid
from runstead.core.usage.price import Price
from runstead.core.usage.report import WAYS, By, Group, UsageReport
from runstead.http.framework.problems import STATUS
from runstead.web.framework.pages import Pages
from runstead.web.framework.request import Visit, to
from runstead.web.usage import csv_export
from runstead.web.usage.chart import charts
from runstead.web.usage.money import exact, parsed, rounded
from runstead.web.usage.period import OFFERED, Period, period_of

pages = Pages()

#: What a report can be told by, for people.
TOLD_BY: Final[dict[By, str]] = {
    "model": "Model",
    "target": "Target",
    "schedule": "Schedule",
    "key": "Key",
    "day": "Day",
    "family": "Family",
}
assert tuple(TOLD_BY) == WAYS
_AMOUNTS: Final = ("input", "cached", "output", "reasoning")


class Row(msgspec.Struct, frozen=True):
    """A group with its name and where it leads."""

    group: Group
    name: str | None
    href: str | None


@pages.get("/projects/{project}/usage")
async def index(visit: Visit) -> Response:
    project = await visit.project()
    by, period = _by(visit), period_of(visit.query, now_ms())
    report, daily = await _reports(visit, project, period, (by, "day"))
    names = await _names(visit, project, by)
    return await visit.page(
        "usage/page.html",
        project=project,
        report=report,
        rows=[_row(project, by, period, one, names) for one in report.groups],
        charts=charts(daily.groups, period) if period.days > 1 and report.total.runs else [],
        period=period,
        offered=OFFERED,
        ways=TOLD_BY,
        rounded=rounded,
        of_period=lambda name: to("projects", project.slug, "usage", by=by, period=name),
        told_by=lambda way: to("projects", project.slug, "usage", by=way, **period.fields),
        csv=to("projects", project.slug, "usage.csv", by=by, **period.fields),
    )


@pages.get("/projects/{project}/usage.csv")
async def download(visit: Visit) -> Response:
    """The same report as a file, which is called incomplete where it is."""
    project = await visit.project()
    by, period = _by(visit), period_of(visit.query, now_ms())
    [report] = await _reports(visit, project, period, (by,))
    table = csv_export.table(report, await _names(visit, project, by))
    part = "-incomplete" if report.truncated or report.groups_left_out else ""
    name = f"usage-by-{by}-{period.first}-to-{period.last}{part}.csv"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(table, headers=headers, media_type="text/csv; charset=utf-8; header=present")


def _by(visit: Visit) -> By:
    wanted = visit.query.one("by")
    return next((way for way in WAYS if way == wanted), "model")


async def _reports(visit: Visit, project: Project, period: Period, ways: tuple[By, ...]) -> list[UsageReport]:
    return await commands.reports(visit.app, visit.principal, project.id, period.since, period.until, ways)


async def _names(visit: Visit, project: Project, by: By) -> dict[str, str]:
    """What keys and schedules are called, as far as the reader may know it."""
    if by == "schedule":
        found = await schedules.page(visit.app, visit.principal, project.id, None, None)
        return {one.id: one.name for one in found}
    if by != "key" or not visit.may("admin", project):
        return {}
    keys = await projects.keys(visit.app, visit.principal, project.id)
    members = await projects.members(visit.app, visit.principal, project.id)
    named = {user_uuid(one.user_id): one.user_id for one in members}
    return named | {one.id: one.name or one.prefix for one in keys}


def _row(project: Project, by: By, period: Period, group: Group, names: dict[str, str]) -> Row:
    key, slug = group.key, project.slug
    if key is None:
        return Row(group, None, None)
    match by:
        case "target":
            times = {"since": f"{period.first}T00:00", "until": f"{period.last + timedelta(days=1)}T00:00"}
            return Row(group, key, to("projects", slug, "runs", target=key, **times))
        case "schedule":
            return Row(group, names.get(key, key), to("projects", slug, "schedules", key))
        case "day":
            return Row(group, key, to("projects", slug, "usage", **{"from": key, "to": key}))
        case "family":
            return Row(group, key, to("projects", slug, "runs", key))
        case _:
            return Row(group, names.get(key, key), None)


@pages.get("/projects/{project}/usage/prices")
async def prices(visit: Visit) -> Response:
    project = await visit.project()
    given = {name: visit.query.one(name) for name in ("provider", "model")}
    return await _prices(visit, project, given)


@pages.post("/projects/{project}/usage/prices")
async def put(visit: Visit) -> Response:
    project = await visit.project(Scope.ADMIN)
    given = {name: visit.form.one(name) for name in ("provider", "model", *_AMOUNTS)}
    try:
        amounts = _amounts(given)
        await price_commands.put(
            visit.app,
            visit.principal,
            project.id,
            given["provider"],
            given["model"],
            input=amounts["input"] or 0,
            output=amounts["output"] or 0,
            cached=amounts["cached"],
            reasoning=amounts["reasoning"],
        )
    except Error as refusal:
        return await _prices(visit, project, given, refusal)
    return visit.back("The price was stored.", to("projects", project.slug, "usage", "prices"))


def _amounts(given: dict[str, str]) -> dict[str, int | None]:
    """What the fields say, in millionths; None of those that may be left out. INVALID_REQUEST with all that are wrong."""
    found: dict[str, int | None] = {}
    wrong: list[tuple[str, str]] = []
    for name in _AMOUNTS:
        try:
            needed = name in ("input", "output")
            found[name] = parsed(name, given[name]) if given[name] or needed else None
        except Error as refusal:
            wrong.extend(refusal.errors)
    if wrong:
        raise Error("INVALID_REQUEST", wrong[0][1], errors=tuple(wrong))
    return found


@pages.post("/projects/{project}/usage/prices/delete")
async def delete(visit: Visit) -> Response:
    project = await visit.project(Scope.ADMIN)
    provider, model = visit.form.one("provider"), visit.form.one("model")
    await price_commands.delete(visit.app, visit.principal, project.id, provider, model)
    return visit.back("The price was deleted.", to("projects", project.slug, "usage", "prices"))


async def _prices(
    visit: Visit, project: Project, given: dict[str, str], refusal: Error | None = None
) -> Response:
    """The table, with what was typed into the form of one price, and what was wrong with it."""
    wrong: dict[str, str] = {}
    if refusal is not None:
        wrong = {path.removeprefix("$."): said for path, said in refusal.errors} or {"": refusal.message}
        wrong = {
            name: refusal.message if said in ("not a name", "out of range") else said
            for name, said in wrong.items()
        }
    found = await price_commands.page(visit.app, visit.principal, project.id)
    if refusal is None:
        named = (given["provider"], given["model"])
        given |= next((_typed(one) for one in found if (one.provider, one.model) == named), {})
    return await visit.page(
        "usage/prices.html",
        project=project,
        prices=found,
        given=dict.fromkeys(("provider", "model", *_AMOUNTS), "") | given,
        wrong=wrong,
        exact=exact,
        status=200 if refusal is None else STATUS[refusal.code],
    )


def _typed(price: Price) -> dict[str, str]:
    """The amounts as one would type them."""
    amounts = {name: getattr(price, name) for name in _AMOUNTS}
    return {name: "" if amount is None else exact(amount) for name, amount in amounts.items()}
