"""Schedules: the list, the page of a schedule, its form, and its actions."""

import uuid
from typing import Final

import msgspec
from starlette.responses import Response

from runstead.commands import runs, schedules as commands
from runstead.core import limits
from runstead.core.errors import Error
from runstead.core.identity.principal import Scope
from runstead.core.identity.project import Project
from runstead.core.runs.run import OMITTABLE
from runstead.core.schedules import cron
from runstead.core.schedules.edits import APP_PATH, Edit
from runstead.core.schedules.schedule import UNPLANNED, Schedule
from runstead.http.framework.problems import STATUS
from runstead.ports.store import RunQuery
from runstead.web.framework.idempotent_form import idempotent
from runstead.web.framework.pages import Pages
from runstead.web.framework.request import PageRequest, to
from runstead.web.runs.head import error_summary
from runstead.web.schedules import form

pages = Pages()

_SCHEDULES: Final = "/projects/{project}/schedules"
_SCHEDULE: Final = _SCHEDULES + "/{schedule_id}"
runs_shown: Final = 15
times_shown: Final = 10
_STATUSES: Final = ("active", "paused", "deleting")


class ScheduleView(msgspec.Struct, frozen=True):
    """A schedule with values that its page derives."""

    row: Schedule
    health: str | None
    when: str
    next_at: int | None
    state: str

    @property
    def by_source(self) -> bool:
        return self.row.definition_source == "source"

    @property
    def app_name(self) -> str | None:
        """The app of workers whose code defines it."""
        path = self.row.source_path or ""
        return path.removeprefix(APP_PATH) if path.startswith(APP_PATH) else None


def schedule_view(schedule: Schedule, now: int) -> ScheduleView:
    """The schedule with its health and its next time."""
    planned = schedule.fires and schedule.next_fire_at != UNPLANNED
    completed = schedule.completed_at is not None and schedule.status != "deleting"
    return ScheduleView(
        row=schedule,
        health=schedule.health(now),
        when=describe_times(schedule),
        next_at=schedule.next_fire_at if planned else None,
        state="completed" if completed else schedule.status,
    )


def describe_times(schedule: Schedule) -> str:
    """When the schedule runs, in words."""
    if schedule.run_at is not None:
        return f"Once, {in_zone(schedule.run_at, schedule.timezone)}"
    return cron.describe(schedule.schedule)


def in_zone(at_ms: int, timezone: str) -> str:
    """A time in a zone, such as `Fri 2026-03-20 12:00 CET`."""
    local_time = form.in_zone(at_ms, timezone)
    return local_time.strftime(
        "%a %Y-%m-%d %H:%M %Z" if local_time.second == 0 else "%a %Y-%m-%d %H:%M:%S %Z"
    )


@pages.show(_SCHEDULES)
async def index(request: PageRequest, project: Project) -> Response:
    q, state = request.query.one("q")[:200], request.query.one("state")
    found = await commands.without_config(*request.caller, project.id)
    now = await commands.health_time(request.app, found)
    rows = [schedule_view(one, now) for one in found]
    kept = [
        one
        for one in rows
        if q.casefold() in f"{one.row.name}\n{one.row.target}".casefold()
        and state in ("", one.state, one.health)
    ]
    kept.sort(key=lambda one: (one.row.name.casefold(), one.row.created_at))
    return await request.page(
        "schedules/listing.html",
        project=project,
        rows=kept,
        count=len(rows),
        q=q,
        state=state,
        key=_idempotency_key,
    )


@pages.show(_SCHEDULES + "/new", scope=Scope.RUNS_WRITE)
async def blank(request: PageRequest, project: Project) -> Response:
    """An empty form, or one with the values of another schedule (`like`)."""
    values, like = form.BLANK, request.query.one("like")
    if like:
        model = await commands.get(*request.caller, project.id, like)
        values = form.values_of(model) | {"name": f"{model.name} (copy)"}
    return await _form(request, project, values)


@pages.change(_SCHEDULES, to=_SCHEDULES, scope=Scope.RUNS_WRITE)
async def create(request: PageRequest, project: Project) -> str | Response:
    values = form.submitted(request.form)
    try:
        new = form.new(values)
        made = await idempotent(
            request, lambda record: commands.create(*request.caller, project.id, new, record)
        )
    except Error as refusal:
        return await _form(request, project, values, refusal=refusal)
    if made is None:
        return "The schedule was created when the form was first sent."
    return request.redirect_with_flash(
        "The schedule was created.", to("projects", project.slug, "schedules", made.id)
    )


@pages.show(_SCHEDULE)
async def show(request: PageRequest, project: Project) -> Response:
    schedule = await commands.get(*request.named(project))
    times = await commands.upcoming(*request.named(project), times_shown)
    query = RunQuery((), schedule_id=schedule.id, limit=runs_shown, omit=OMITTABLE - {"error"})
    found = await runs.page(*request.caller, project.id, query)
    now = await commands.health_time(request.app, [schedule])
    return await request.page(
        "schedules/page.html",
        project=project,
        one=schedule_view(schedule, now),
        times=[(at, in_zone(at, schedule.timezone)) for at in times],
        runs=found.rows,
        more=found.more,
        error_of=error_summary,
        key=_idempotency_key,
    )


@pages.show(_SCHEDULE + "/edit", scope=Scope.RUNS_WRITE)
async def edit(request: PageRequest, project: Project) -> Response:
    schedule = await commands.get(*request.named(project))
    if schedule.definition_source == "source":
        raise Error(
            "SCHEDULE_FROM_SOURCE",
            "The schedule is defined in the project's source: change it there and sync it",
        )
    return await _form(request, project, form.values_of(schedule), schedule)


@pages.change(_SCHEDULE + "/edit", to=_SCHEDULE, scope=Scope.RUNS_WRITE)
async def change(request: PageRequest, project: Project) -> str | Response:
    schedule = await commands.get(*request.named(project))
    values = form.submitted(request.form)
    try:
        await commands.change(*request.named(project), form.edit(schedule, values))
    except Error as refusal:
        return await _form(request, project, values, schedule, refusal)
    return "The schedule was changed."


def _page_of_button(request: PageRequest) -> str:
    return _SCHEDULES if request.form.one("from") == "list" else _SCHEDULE


@pages.change(_SCHEDULE + "/run", to=_page_of_button, scope=Scope.RUNS_WRITE)
async def run(request: PageRequest, project: Project) -> str:
    """Start a run now. The form contains the idempotency key, so a double click starts one run."""
    key = request.form.required("key", "The key of the run")
    written = await commands.run(*request.named(project), key, None)
    return f"The run {written.run.run_id} was started."


@pages.change(_SCHEDULE + "/pause", to=_page_of_button, scope=Scope.RUNS_WRITE)
async def pause(request: PageRequest, project: Project) -> str:
    reason = request.form.one("reason").replace("\0", "")
    if len(reason) > limits.schedule_reason_chars_max:
        most = limits.schedule_reason_chars_max
        raise Error("INVALID_REQUEST", f"The reason has at most {most:,} characters")
    wanted = Edit(status="paused", paused_reason=reason or msgspec.UNSET)
    await commands.change(*request.named(project), wanted)
    return "The schedule was paused. It starts no runs until it is resumed."


@pages.change(_SCHEDULE + "/resume", to=_page_of_button, scope=Scope.RUNS_WRITE)
async def resume(request: PageRequest, project: Project) -> str:
    await commands.change(*request.named(project), Edit(status="active"))
    return "The schedule was resumed."


@pages.change(_SCHEDULE + "/delete", to=_SCHEDULES, scope=Scope.RUNS_WRITE)
async def delete(request: PageRequest, project: Project) -> str:
    await commands.delete(*request.named(project))
    return "The schedule is being deleted. It starts no more runs and disappears when its runs have ended."


def _idempotency_key() -> str:
    return str(uuid.uuid4())


async def _form(
    request: PageRequest,
    project: Project,
    values: form.Values,
    schedule: Schedule | None = None,
    refusal: Error | None = None,
) -> Response:
    """The form, with an error at each invalid field."""
    return await request.page(
        "schedules/form.html",
        project=project,
        schedule=schedule,
        values=values,
        errors={} if refusal is None else form.by_field(refusal),
        zones=cron.zones(),
        status=200 if refusal is None else STATUS[refusal.code],
    )
