"""Schedules that a project's source defines: `PUT /projects/{project}/source-schedules` (contract C)."""

from typing import Annotated

import msgspec
from msgspec import Meta

from runstead.commands import source_schedules as commands
from runstead.core import limits
from runstead.http.framework.endpoint import Call, Nothing, Reply, Routes
from runstead.http.framework.values import NO_CONTROLS, Name
from runstead.http.schedule_view import ScheduleView, view
from runstead.http.schedules import CreateSchedule, new_schedule

routes = Routes("Schedules")


class SourceSchedule(CreateSchedule, frozen=True, kw_only=True, omit_defaults=True):
    """A schedule as a project's source defines it. `source_trigger_id` tells it from the others there; `source_hash`
    changes with its definition: without one the server makes it.
    """

    source_trigger_id: Name
    source_path: (
        Annotated[str, Meta(min_length=1, max_length=limits.source_path_chars_max, pattern=NO_CONTROLS)]
        | None
    ) = None
    source_hash: (
        Annotated[str, Meta(min_length=1, max_length=limits.source_hash_chars_max, pattern=NO_CONTROLS)]
        | None
    ) = None


class SyncSourceSchedules(msgspec.Struct, frozen=True, kw_only=True):
    """All schedules that the project's source defines: one that is missing here is deleted."""

    schedules: Annotated[list[SourceSchedule], Meta(max_length=limits.schedules_per_project_max)]


class SyncedSchedules(msgspec.Struct, frozen=True):
    """What became of each."""

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
    """Make the schedules of a project's source these: created, updated, deleted or left alone, all at once."""
    wanted = [
        commands.SourceSchedule(
            source_trigger_id=one.source_trigger_id,
            definition=new_schedule(one),
            source_path=one.source_path,
            source_hash=one.source_hash,
        )
        for one in call.body.schedules
    ]
    synced = await commands.sync(call.app, call.principal, call.path["project"], wanted)
    now = await call.app.store.schedules.now()
    kinds = (synced.created, synced.updated, synced.removed, synced.unchanged)
    return Reply(200, SyncedSchedules(*([view(one, now) for one in found] for found in kinds)))
