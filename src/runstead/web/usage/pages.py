"""Usage: tokens that a project's runs reported, their cost, and prices."""

from datetime import timedelta
from typing import Any, Final

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
from runstead.web.framework.request import PageRequest, to
from runstead.web.usage import csv_export
from runstead.web.usage.chart import charts
from runstead.web.usage.money import exact, parsed, rounded
from runstead.web.usage.period import PERIODS, Period, period_of

pages = Pages()

_PRICES: Final = "/projects/{project}/usage/prices"
#: Groupings of a report, with their labels.
GROUPINGS: Final[dict[By, str]] = {
    "model": "Model",
    "target": "Target",
    "schedule": "Schedule",
    "key": "Key",
    "day": "Day",
    "family": "Family",
}
assert tuple(GROUPINGS) == WAYS
_AMOUNTS: Final = ("input", "cached", "output", "reasoning")


class Row(msgspec.Struct, frozen=True):
    """A group with its name and the address that it links to."""

    group: Group
    name: str | None
    href: str | None


@pages.show("/projects/{project}/usage")
async def index(request: PageRequest, project: Project) -> Response:
    by, period = _by(request), period_of(request.query, now_ms())
    report, daily = await _reports(request, project, period, (by, "day"))
    names = await _names(request, project, by)
    return await request.page(
        "usage/page.html",
        project=project,
        report=report,
        rows=[_row(project, by, period, one, names) for one in report.groups],
        charts=charts(daily.groups, period) if period.days > 1 and report.total.runs else [],
        period=period,
        periods=PERIODS,
        groupings=GROUPINGS,
        rounded=rounded,
        period_href=lambda name: to("projects", project.slug, "usage", by=by, period=name),
        grouping_href=lambda way: to("projects", project.slug, "usage", by=way, **period.fields),
        csv=to("projects", project.slug, "usage.csv", by=by, **period.fields),
    )


@pages.show("/projects/{project}/usage.csv")
async def download(request: PageRequest, project: Project) -> Response:
    """The same report as CSV. The file name says whether it is incomplete."""
    by, period = _by(request), period_of(request.query, now_ms())
    [report] = await _reports(request, project, period, (by,))
    table = csv_export.table(report, await _names(request, project, by))
    part = "-incomplete" if report.truncated or report.groups_left_out else ""
    name = f"usage-by-{by}-{period.first}-to-{period.last}{part}.csv"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(table, headers=headers, media_type="text/csv; charset=utf-8; header=present")


def _by(request: PageRequest) -> By:
    wanted = request.query.one("by")
    return next((way for way in WAYS if way == wanted), "model")


async def _reports(
    request: PageRequest, project: Project, period: Period, ways: tuple[By, ...]
) -> list[UsageReport]:
    return await commands.reports(*request.caller, project.id, period.since, period.until, ways)


async def _names(request: PageRequest, project: Project, by: By) -> dict[str, str]:
    """Names of keys and schedules, by id, that the principal may see."""
    if by == "schedule":
        found = await schedules.without_config(*request.caller, project.id)
        return {one.id: one.name for one in found}
    if by != "key" or not request.may("admin", project):
        return {}
    keys = await projects.keys(*request.caller, project.id)
    members = await projects.members(*request.caller, project.id)
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


@pages.show(_PRICES)
async def prices(request: PageRequest, project: Project) -> Response:
    values = {name: request.query.one(name) for name in ("provider", "model")}
    return await _prices(request, project, values)


@pages.change(_PRICES, to=_PRICES, scope=Scope.ADMIN)
async def put(request: PageRequest, project: Project) -> str | Response:
    values = {name: request.form.one(name) for name in ("provider", "model", *_AMOUNTS)}
    try:
        amounts: dict[str, Any] = _amounts(values)
        provider, model = values["provider"], values["model"]
        await price_commands.put(*request.caller, project.id, provider, model, **amounts)
    except Error as refusal:
        return await _prices(request, project, values, refusal)
    return "The price was stored."


def _amounts(values: dict[str, str]) -> dict[str, int | None]:
    """The amounts in millionths, None for empty optional fields. INVALID_REQUEST with all invalid fields."""
    found: dict[str, int | None] = {}
    errors: list[tuple[str, str]] = []
    for name in _AMOUNTS:
        try:
            required = name in ("input", "output")
            found[name] = parsed(name, values[name]) if values[name] or required else None
        except Error as refusal:
            errors.extend(refusal.errors)
    if errors:
        raise Error("INVALID_REQUEST", errors[0][1], errors=tuple(errors))
    return found


@pages.change(_PRICES + "/delete", to=_PRICES, scope=Scope.ADMIN)
async def delete(request: PageRequest, project: Project) -> str:
    provider, model = request.form.one("provider"), request.form.one("model")
    await price_commands.delete(*request.caller, project.id, provider, model)
    return "The price was deleted."


async def _prices(
    request: PageRequest, project: Project, values: dict[str, str], refusal: Error | None = None
) -> Response:
    """The table of prices, with the form's values and its errors by field."""
    errors: dict[str, str] = {}
    if refusal is not None:
        errors = {path.removeprefix("$."): message for path, message in refusal.errors} or {
            "": refusal.message
        }
        errors = {
            name: refusal.message if message in ("not a name", "out of range") else message
            for name, message in errors.items()
        }
    found = await price_commands.page(*request.caller, project.id)
    if refusal is None:
        named = (values["provider"], values["model"])
        values |= next((_form_values(one) for one in found if (one.provider, one.model) == named), {})
    return await request.page(
        "usage/prices.html",
        project=project,
        prices=found,
        values=dict.fromkeys(("provider", "model", *_AMOUNTS), "") | values,
        errors=errors,
        exact=exact,
        status=200 if refusal is None else STATUS[refusal.code],
    )


def _form_values(price: Price) -> dict[str, str]:
    """The amounts of a price as form values."""
    amounts = {name: getattr(price, name) for name in _AMOUNTS}
    return {name: "" if amount is None else exact(amount) for name, amount in amounts.items()}
