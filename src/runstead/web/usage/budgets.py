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
from runstead.web.framework.pages import Pages
from runstead.web.framework.request import PageRequest, to

pages = Pages()

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


def _number(text: str) -> int | str:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else text


def _limit(form: Fields) -> dict[str, Any]:
    given = {"cost": form.one("cost"), "tokens": _number(form.one("tokens"))}
    return {name: value for name, value in given.items() if value != ""}


def _address(project: Project) -> str:
    return to("projects", project.slug, "usage", "budgets")


@pages.get("/projects/{project}/usage/budgets")
async def index(request: PageRequest) -> Response:
    return await _listing(request, await request.project())


async def _listing(request: PageRequest, project: Project, refused: Error | None = None) -> Response:
    found = await commands.page(request.app, request.principal, project.id)
    return await request.form_page(
        "usage/budgets.html",
        refused,
        project=project,
        budgets=[view(state) for state in found],
        scopes=SCOPES,
        periods=PERIODS,
        reactions=REACHED,
    )


@pages.post("/projects/{project}/usage/budgets")
async def create(request: PageRequest) -> Response:
    project, form = await request.project(), request.form
    scope = {name: value for name in ("kind", "value") if (value := form.one(f"scope_{name}"))}
    try:
        body = body_of(
            CreateBudget,
            FIELD_ERRORS,
            scope=scope,
            limit=_limit(form),
            alert_at_percent=_number(form.one("alert_at_percent")),
            **{name: form.one(name) for name in ("period", "on_reached", "name")},
        )
        await idempotent(
            request,
            lambda idempotency: create_of(request.app, request.principal, project.id, body, idempotency),
        )
    except Error as refused:
        if not request.may("admin", project):
            raise
        return await _listing(request, project, refused)
    return request.redirect_with_flash("The budget was created.", _address(project))


@pages.post("/projects/{project}/usage/budgets/{budget_id}")
async def change(request: PageRequest) -> Response:
    project, form = await request.project(), request.form
    try:
        body = body_of(
            UpdateBudget, FIELD_ERRORS, limit=_limit(form) or None, on_reached=form.one("on_reached")
        )
        await commands.change(
            request.app, request.principal, project.id, request.path["budget_id"], members(body)
        )
    except Error as refused:
        if refused.code != "INVALID_REQUEST":
            raise
        return await _listing(request, project, refused)
    return request.redirect_with_flash("The budget was changed.", _address(project))


@pages.post("/projects/{project}/usage/budgets/{budget_id}/delete")
async def delete(request: PageRequest) -> Response:
    project = await request.project()
    await commands.delete(request.app, request.principal, project.id, request.path["budget_id"])
    flash = "The budget was deleted. Runs that wait for it continue."
    return request.redirect_with_flash(flash, _address(project))
