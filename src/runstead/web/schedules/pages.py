"""Schedules: the list, one of them, its form, and what can be done with it."""

import uuid
from typing import Final

import msgspec
from starlette.responses import Response

from runstead.commands import runs, schedules as commands
from runstead.core import limits
from runstead.core.errors import Error
from runstead.core.identity.principal import Scope
from runstead.core.identity.project import Project
from runstead.core.schedules import cron
from runstead.core.schedules.edits import Edit
from runstead.core.schedules.schedule import UNPLANNED, Schedule
from runstead.http.framework.problems import STATUS
from runstead.ports.store import RunQuery
from runstead.web.framework.idempotent_form import once, once_field
from runstead.web.framework.pages import Pages
from runstead.web.framework.request import Visit, to
from runstead.web.schedules import form

pages = Pages()

runs_shown: Final = 15
times_shown: Final = 10
_STATUSES: Final = ("active", "paused", "deleting")


class Shown(msgspec.Struct, frozen=True):
    """A schedule with what is worked out for its page."""

    row: Schedule
    health: str | None
    when: str
    next_at: int | None
    state: str

    @property
    def by_source(self) -> bool:
        return self.row.definition_source == "source"


def shown(schedule: Schedule, now: int) -> Shown:
    planned = schedule.fires and schedule.next_fire_at != UNPLANNED
    completed = schedule.completed_at is not None and schedule.status != "deleting"
    return Shown(
        schedule,
        schedule.health(now),
        in_words(schedule),
        schedule.next_fire_at if planned else None,
        "completed" if completed else schedule.status,
    )


def in_words(schedule: Schedule) -> str:
    """When it runs, for people."""
    if schedule.run_at is not None:
        return f"Once, {in_zone(schedule.run_at, schedule.timezone)}"
    return cron.words(schedule.schedule)


def in_zone(at_ms: int, timezone: str) -> str:
    """A moment by the clocks of a zone: `Fri 2026-03-20 12:00 CET`."""
    moment = form.in_zone(at_ms, timezone)
    return moment.strftime("%a %Y-%m-%d %H:%M %Z" if moment.second == 0 else "%a %Y-%m-%d %H:%M:%S %Z")


@pages.get("/projects/{project}/schedules")
async def index(visit: Visit) -> Response:
    project = await visit.project()
    q, state = visit.query.one("q")[:200], visit.query.one("state")
    found = await commands.page(visit.app, visit.principal, project.id, None, None)
    now = await commands.health_time(visit.app, found)
    rows = [shown(one, now) for one in found]
    kept = [
        one
        for one in rows
        if q.casefold() in f"{one.row.name}\n{one.row.target}".casefold()
        and state in ("", one.state, one.health)
    ]
    kept.sort(key=lambda one: (one.row.name.casefold(), one.row.created_at))
    return await visit.page(
        "schedules/listing.html", project=project, rows=kept, count=len(rows), q=q, state=state, key=_key
    )


@pages.get("/projects/{project}/schedules/new")
async def blank(visit: Visit) -> Response:
    """An empty form, or one that is filled as another schedule is (`like`)."""
    project = await visit.project(Scope.RUNS_WRITE)
    values, like = form.BLANK, visit.query.one("like")
    if like:
        model = await commands.get(visit.app, visit.principal, project.id, like)
        values = form.filled(model) | {"name": f"{model.name} (copy)"}
    return await _form(visit, project, values)


@pages.post("/projects/{project}/schedules")
async def create(visit: Visit) -> Response:
    project = await visit.project(Scope.RUNS_WRITE)
    values = form.typed(visit.form)
    try:
        new = form.new(values)
        made = await once(
            visit,
            lambda idempotency: commands.create(visit.app, visit.principal, project.id, new, idempotency),
        )
    except Error as refusal:
        return await _form(visit, project, values, refusal=refusal)
    if made is None:
        told = "The schedule was created when the form was sent first."
        return visit.back(told, to("projects", project.slug, "schedules"))
    return visit.back("The schedule was created.", to("projects", project.slug, "schedules", made.id))


@pages.get("/projects/{project}/schedules/{schedule_id}")
async def one(visit: Visit) -> Response:
    project, schedule = await _named(visit)
    times = await commands.upcoming(visit.app, visit.principal, project.id, schedule.id, times_shown)
    query = RunQuery((), schedule_id=schedule.id, limit=runs_shown + 1)
    found = await runs.page(visit.app, visit.principal, project.id, query)
    now = await commands.health_time(visit.app, [schedule])
    return await visit.page(
        "schedules/page.html",
        project=project,
        one=shown(schedule, now),
        times=[(at, in_zone(at, schedule.timezone)) for at in times],
        runs=found[:runs_shown],
        more=len(found) > runs_shown,
        key=_key,
    )


@pages.get("/projects/{project}/schedules/{schedule_id}/edit")
async def edit(visit: Visit) -> Response:
    project, schedule = await _named(visit, Scope.RUNS_WRITE)
    if schedule.definition_source == "source":
        raise Error(
            "SCHEDULE_FROM_SOURCE",
            "The schedule is defined in the project's source: it is changed there and synced",
        )
    return await _form(visit, project, form.filled(schedule), schedule)


@pages.post("/projects/{project}/schedules/{schedule_id}/edit")
async def change(visit: Visit) -> Response:
    project, schedule = await _named(visit, Scope.RUNS_WRITE)
    values = form.typed(visit.form)
    try:
        wanted = form.edit(schedule, values)
        await commands.change(visit.app, visit.principal, project.id, schedule.id, wanted)
    except Error as refusal:
        return await _form(visit, project, values, schedule, refusal)
    return visit.back("The schedule was changed.", to("projects", project.slug, "schedules", schedule.id))


@pages.post("/projects/{project}/schedules/{schedule_id}/run")
async def run(visit: Visit) -> Response:
    """The key stands in the form: who presses twice starts one run."""
    project, schedule = await _named(visit, Scope.RUNS_WRITE)
    key = visit.form.required("key", "The key of the run")
    written = await commands.run(visit.app, visit.principal, project.id, schedule.id, key, None)
    return visit.back(f"The run {written.run.run_id} was started.", _where(visit, project, schedule))


@pages.post("/projects/{project}/schedules/{schedule_id}/pause")
async def pause(visit: Visit) -> Response:
    reason = visit.form.one("reason").replace("\0", "")
    if len(reason) > limits.schedule_reason_chars_max:
        most = limits.schedule_reason_chars_max
        raise Error("INVALID_REQUEST", f"The reason of a pause has at most {most:,} characters")
    wanted = Edit(status="paused", paused_reason=reason or msgspec.UNSET)
    return await _change(visit, wanted, "The schedule is paused: it fires no more until it is resumed.")


@pages.post("/projects/{project}/schedules/{schedule_id}/resume")
async def resume(visit: Visit) -> Response:
    return await _change(visit, Edit(status="active"), "The schedule is active again.")


@pages.post("/projects/{project}/schedules/{schedule_id}/delete")
async def delete(visit: Visit) -> Response:
    project, schedule = await _named(visit, Scope.RUNS_WRITE)
    await commands.delete(visit.app, visit.principal, project.id, schedule.id)
    told = "The schedule is being deleted: it fires no more, and is gone once its runs have ended."
    return visit.back(told, to("projects", project.slug, "schedules"))


async def _change(visit: Visit, wanted: Edit, told: str) -> Response:
    project, schedule = await _named(visit, Scope.RUNS_WRITE)
    await commands.change(visit.app, visit.principal, project.id, schedule.id, wanted)
    return visit.back(told, _where(visit, project, schedule))


async def _named(visit: Visit, scope: Scope = Scope.RUNS_READ) -> tuple[Project, Schedule]:
    project = await visit.project(scope)
    found = await commands.get(visit.app, visit.principal, project.id, visit.path["schedule_id"])
    return project, found


def _where(visit: Visit, project: Project, schedule: Schedule) -> str:
    """Back to where the button was."""
    if visit.form.one("from") == "list":
        return to("projects", project.slug, "schedules")
    return to("projects", project.slug, "schedules", schedule.id)


def _key() -> str:
    return str(uuid.uuid4())


async def _form(
    visit: Visit,
    project: Project,
    values: form.Values,
    schedule: Schedule | None = None,
    refusal: Error | None = None,
) -> Response:
    """The form, with what was wrong at each field."""
    return await visit.page(
        "schedules/form.html",
        project=project,
        schedule=schedule,
        values=values,
        wrong={} if refusal is None else form.by_field(refusal),
        zones=cron.zones(),
        once_field=once_field(),
        status=200 if refusal is None else STATUS[refusal.code],
    )
