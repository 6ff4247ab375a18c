"""Schedules that a project's source code defines, synchronized as a whole."""

import hashlib
from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from runstead.commands import locate
from runstead.commands.access import Access, needs
from runstead.commands.schedules import NewSchedule, draft
from runstead.core.clock import now_ms
from runstead.core.idempotency import Idempotency
from runstead.core.identity.principal import Scope
from runstead.core.schedules import edits
from runstead.core.schedules.edits import Sync
from runstead.core.schedules.schedule import Schedule


class SourceSchedule(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule of the source. Without a `source_hash`, the hash of the definition is used."""

    source_trigger_id: str
    definition: NewSchedule
    source_path: str | None = None
    source_hash: str | None = None


@needs(Scope.RUNS_WRITE, bound="cannot sync schedules", records="schedule.sync")
async def sync(
    access: Access,
    wanted: Sequence[SourceSchedule],
    app_name: str | None = None,
    idempotency: Idempotency = None,
) -> Sync:
    """Replace the schedules of the project's source, or of one app: create, update and delete what differs.

    Raises INVALID_REQUEST, NOT_FOUND (project, conversation), SCHEDULE_LIMIT_REACHED.
    """
    app, principal, project_id = access.app, access.principal, access.project_id
    if app_name is not None:
        wanted = [replace(schedule, source_path=f"{edits.APP_PATH}{app_name}") for schedule in wanted]
    drafts = [_draft(schedule, project_id, access.user) for schedule in wanted]
    edits.check_synced(drafts, now_ms())
    for conversation_id in {schedule.conversation_id for schedule in drafts}:
        await locate.check_conversation(app, principal, project_id, conversation_id)
    return await access.recording.schedules.sync(
        project_id, lambda known, now: edits.sync(known, drafts, now, app_name), idempotency
    )


def _draft(schedule: SourceSchedule, project_id: str, created_by: str | None) -> Schedule:
    digest = hashlib.sha256(msgspec.json.encode((schedule.definition, schedule.source_path))).hexdigest()
    return replace(
        draft(schedule.definition, project_id, created_by),
        definition_source="source",
        source_trigger_id=schedule.source_trigger_id,
        source_path=schedule.source_path,
        source_hash=schedule.source_hash or digest,
    )
