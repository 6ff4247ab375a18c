"""Budgets: what was spent of each, and the forms that create, change and delete them."""

from typing import Any, Final

from starlette.responses import Response

from runstead.commands import budgets as commands
from runstead.core.errors import Error
from runstead.core.identity.project import Project
from runstead.http.budgets import CreateBudget, UpdateBudget, create_of, members, view
from runstead.web.framework.command_body import body_of
from runstead.web.framework.form import Fields
from runstead.web.framework.idempotent_form import idempotent
from runstead.web.framework.pages import Pages, if_invalid, to_admins
from runstead.web.framework.request import PageRequest

pages = Pages()

_BUDGETS: Final = "/projects/{project}/usage/budgets"
_BUDGET: Final = _BUDGETS + "/{budget_id}"
SCOPES: Final = {
    "project": "all runs of the project",
    "target": "runs of a target",
    "key": "runs that a key or user created",
    "schedule": "runs of a schedule",
    "label": "runs with a label",
}
PERIODS: Final = {
    "day": "a day (UTC)",
    "month": "a month (UTC)",
    "run_family": "each root run with its descendants",
}
REACHED: Final = {
    "pause": "runs wait for approval",
    "fail": "runs fail",
    "cancel": "runs are cancelled",
    "alert": "only webhooks are notified",
}
FIELD_ERRORS: Final = {
    "scope": "Name the target, the key, the schedule or the label (name:value) that the budget counts",
    "limit.cost": "The cost is a decimal with at most 6 places, such as 2.50",
    "limit.tokens": "The tokens are a whole number over 0",
    "limit": "Write a cost, a number of tokens, or both",
    "alert_at_percent": "The alert is at 1 to 100 percent",
}


def _limit(form: Fields) -> dict[str, Any]:
    given = {"cost": form.one("cost") or None, "tokens": form.number("tokens")}
    return {name: value for name, value in given.items() if value is not None}


@pages.get(_BUDGETS)
async def index(request: PageRequest) -> Response:
    return await _listing(request, await request.project())


async def _listing(request: PageRequest, project: Project, refused: Error | None = None) -> Response:
    found = await commands.page(*request.caller, project.id)
    return await request.form_page(
        "usage/budgets.html",
        refused,
        project=project,
        budgets=[view(state) for state in found],
        scopes=SCOPES,
        periods=PERIODS,
        reactions=REACHED,
    )


@pages.change(_BUDGETS, to=_BUDGETS, refused=to_admins(_listing))
async def create(request: PageRequest, project: Project) -> str:
    form = request.form
    body = body_of(
        CreateBudget,
        FIELD_ERRORS,
        scope={name: value for name in ("kind", "value") if (value := form.one(f"scope_{name}"))},
        limit=_limit(form),
        alert_at_percent=form.number("alert_at_percent"),
        **{name: form.one(name) for name in ("period", "on_reached", "name")},
    )
    await idempotent(request, lambda record: create_of(*request.caller, project.id, body, record))
    return "The budget was created."


@pages.change(_BUDGET, to=_BUDGETS, refused=if_invalid(_listing))
async def change(request: PageRequest, project: Project) -> str:
    limit, on_reached = _limit(request.form) or None, request.form.one("on_reached")
    body = body_of(UpdateBudget, FIELD_ERRORS, limit=limit, on_reached=on_reached)
    await commands.change(*request.named(project), members(body))
    return "The budget was changed."


@pages.change(_BUDGET + "/delete", to=_BUDGETS)
async def delete(request: PageRequest, project: Project) -> str:
    await commands.delete(*request.named(project))
    return "The budget was deleted. Runs that wait for it continue."
