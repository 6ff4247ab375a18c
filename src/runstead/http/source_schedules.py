"""Schedules of a project's source code: `PUT /projects/{project}/source-schedules`."""

from typing import Annotated

import msgspec
from msgspec import Meta

from runstead.commands import source_schedules as commands
from runstead.commands.schedules import health_time
from runstead.core import limits
from runstead.http.arguments import from_body, scoped
from runstead.http.bounds import line
from runstead.http.framework.endpoint import Call, Nothing, Reply, Routes
from runstead.http.framework.values import Name
from runstead.http.schedule_view import ScheduleView, view
from runstead.http.schedules import CreateSchedule, new_schedule

routes = Routes("Schedules")


class SourceSchedule(CreateSchedule, frozen=True, kw_only=True, omit_defaults=True):
    """A schedule that a project's source code defines. `source_trigger_id` identifies it in the source.

    `source_hash` changes with the definition. If it is left out, the server computes it.
    """

    source_trigger_id: Name
    source_path: Annotated[str, line(limits.source_path_chars_max)] | None = None
    source_hash: Annotated[str, line(limits.source_hash_chars_max)] | None = None


class SyncSourceSchedules(msgspec.Struct, frozen=True, kw_only=True):
    """All schedules that the project's source code defines. Schedules that are left out are deleted.

    With `app`, they are those of one app of workers, and the schedules of other apps and sources are not changed.
    """

    schedules: Annotated[list[SourceSchedule], Meta(max_length=limits.schedules_per_project_max)]
    app: Name | None = None


class SyncedSchedules(msgspec.Struct, frozen=True):
    """The schedules by what the call did with them."""

    created: list[ScheduleView]
    updated: list[ScheduleView]
    removed: list[ScheduleView]
    unchanged: list[ScheduleView]


@routes.route(
    "PUT",
    "/projects/{project}/source-schedules",
    body=SyncSourceSchedules,
    answer=SyncedSchedules,
    errors=("NOT_FOUND", "STORE_BUSY", "STORE_UNAVAILABLE", "SCHEDULE_LIMIT_REACHED"),
)
async def sync(call: Call[SyncSourceSchedules, Nothing]) -> Reply:
    """Replace the schedules of a project's source code, in one transaction."""
    wanted = [
        from_body(commands.SourceSchedule, schedule, definition=new_schedule(schedule))
        for schedule in call.body.schedules
    ]
    synced = await commands.sync(*scoped(call), wanted, call.body.app)
    kinds = (synced.created, synced.updated, synced.removed, synced.unchanged)
    now = await health_time(call.app, [schedule for found in kinds for schedule in found])
    return Reply(200, SyncedSchedules(*([view(schedule, now) for schedule in found] for found in kinds)))
