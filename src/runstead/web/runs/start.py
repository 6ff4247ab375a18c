"""Start a run: the page of its form, also filled in from another run, and the targets that it suggests."""

from functools import partial
from typing import Any

import msgspec
from msgspec.structs import replace
from starlette.responses import Response

from runstead.commands import (
    charts,
    conversations,
    create as commands,
    runs,
    schedules,
    targets as registrations,
)
from runstead.commands.conversations import NewConversation
from runstead.commands.create import NewRun
from runstead.commands.runs import RunRef
from runstead.core import limits
from runstead.core.errors import Error
from runstead.core.idempotency import IdempotencyRecord, ReplayedResponse
from runstead.core.identity.principal import Scope
from runstead.core.identity.project import Project
from runstead.core.queue.target import RegisteredTarget
from runstead.core.runs.run import Run
from runstead.http.framework.problems import STATUS
from runstead.ports.store import RunQuery, Written
from runstead.web.framework.idempotent_form import idempotent, record_of
from runstead.web.framework.pages import Pages
from runstead.web.framework.request import PageRequest, to
from runstead.web.runs import new_run, schema_form
from runstead.web.runs.filters import KINDS, filters_of
from runstead.web.runs.page import run_address

pages = Pages()


async def targets(request: PageRequest, project: Project) -> list[str]:
    """The targets that workers have registered, and those of the project's runs and schedules."""
    served = [one.target for one in await registered(request, project)]
    found = await charts.targets(*request.caller, project.id)
    planned = await schedules.without_config(*request.caller, project.id)
    others = sorted({*found, *(one.target for one in planned)}.difference(served))
    return sorted([*served, *others][: limits.targets_listed_max])


async def registered(request: PageRequest, project: Project) -> list[RegisteredTarget]:
    """The targets that workers have registered."""
    found = await registrations.page(*request.caller, project.id, "", limits.targets_listed_max)
    return found.rows


async def choices(request: PageRequest, project: Project) -> Response:
    """The targets and kinds that exist in the project: a part of the page, for the filters of the list."""
    chosen = filters_of(request.query).kind
    kinds = []
    for kind in KINDS:
        query = RunQuery((), kinds=(kind,), limit=1)
        found = await runs.page(*request.caller, project.id, query)
        if found.rows or kind in chosen:
            kinds.append(kind)
    return request.part(
        "runs/choices.html", targets=await targets(request, project), kinds=kinds, chosen=chosen
    )


@pages.show("/projects/{project}/list/new", scope=Scope.RUNS_WRITE)
async def blank(request: PageRequest, project: Project) -> Response:
    """An empty form, or one with the values of another run (`like`)."""
    like = await _like(request, project, request.query.one("like"))
    values = new_run.BLANK | {"target": request.query.one("target")}
    if like is not None:
        values = new_run.values_of(like)
    form = None
    if not request.query.one("json"):
        form = await _schema_form(request, project, values["target"], _input_of(values))
    return await _form(request, project, values, form=form)


@pages.post("/projects/{project}/list/new")
async def start(request: PageRequest) -> Response:
    project = await request.project(Scope.RUNS_WRITE)
    values = new_run.submitted(request.form)
    form = None
    try:
        like = await _like(request, project, values["like"])
        if digest := request.form.one("schema"):
            given = (
                None if like is None else _input_of(new_run.values_of(like))
            )  # it chose the kinds of fields
            form = await _schema_form(request, project, values["target"], given)
            if form is None or form.digest != digest:
                form = None
                raise Error("INVALID_REQUEST", "The target expects another input now: fill it in again")
            form = schema_form.entered(form, request.form)
            values["input"] = schema_form.input_of(form)
        new, talks = new_run.new(values, project.id, like)
        if talks:
            new = replace(new, owner_id=await _conversation(request, project))
        written = await idempotent(request, partial(_create, request, new))
    except Error as refusal:
        return await _form(request, project, values, refusal, form)
    if written is None:
        flash = "The run was started when the form was first sent."
        return request.redirect_with_flash(flash, to("projects", project.slug, "runs"))
    return request.redirect_with_flash("The run was started.", run_address(project, written.run.run_id))


async def _create(request: PageRequest, new: NewRun, idempotency: IdempotencyRecord) -> Written:
    return await commands.create(*request.caller, new, idempotency, recorded=True)


async def _conversation(request: PageRequest, project: Project) -> str:
    """The id of the new conversation of this form, the same if the form is sent again."""
    record = record_of(request, "-conversation", lambda made: (200, msgspec.json.encode(made.id)))
    new = NewConversation(project=project.id)
    try:
        return (await conversations.create(*request.caller, new, record)).id
    except ReplayedResponse as known:
        return msgspec.json.decode(known.body, type=str)


async def _like(request: PageRequest, project: Project, run_id: str) -> Run | None:
    if not run_id:
        return None
    return await runs.get(*request.caller, RunRef(run_id, project=project.id))


def _input_of(values: new_run.Values) -> Any:
    return msgspec.json.decode(values["input"]) if values["input"] else None


async def _schema_form(
    request: PageRequest, project: Project, target: str, given: Any = None
) -> schema_form.SchemaForm | None:
    found = await registrations.get(*request.caller, project.id, target) if target else None
    return None if found is None else schema_form.form_of(found.input_schema, given)


async def _form(
    request: PageRequest,
    project: Project,
    values: new_run.Values,
    refusal: Error | None = None,
    form: schema_form.SchemaForm | None = None,
) -> Response:
    """The form, with an error at each invalid field. `form`: the fields of the input; None: it is entered as JSON."""
    errors: dict[str, str] = {}
    if refusal is not None:
        errors = dict({} if form is None else schema_form.errors_of(form, refusal)) or new_run.by_field(
            refusal
        )
    return await request.page(
        "runs/start.html",
        project=project,
        values=values,
        errors=errors,
        targets=await targets(request, project),
        registered=await registered(request, project),
        form=form,
        status=200 if refusal is None else STATUS[refusal.code],
    )
