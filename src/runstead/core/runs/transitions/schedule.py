"""Create a run of a schedule."""

from typing import Any

import msgspec
from msgspec.structs import replace

from runstead.core.conversations.conversation import Conversation
from runstead.core.errors import Error, existing
from runstead.core.runs.flow import keyed
from runstead.core.runs.run import Run, RunStatus, TriggerKind
from runstead.core.runs.transition import Loaded, NewMessage, Transition
from runstead.core.runs.transitions import agent_defaults
from runstead.core.runs.transitions.create import create
from runstead.core.runs.transitions.flow import delay, find_existing
from runstead.core.schedules.schedule import Schedule, fired


class Firing(msgspec.Struct, frozen=True, kw_only=True):
    """The caller of a firing, and the ids of the new run, its message and its conversation."""

    run_id: str
    uid: str
    message_id: str
    conversation_id: str
    trigger_kind: TriggerKind
    title: str | None = None
    created_by: str | None = None
    requested_by_user_id: str | None = None
    scheduled_at: int | None = None
    missed_since: int | None = None
    trace_context: str | None = None


def fire(loaded: Loaded, firing: Firing) -> Transition:
    """Create a run of the loaded schedule, and its conversation if the schedule creates one. Count it on the
    schedule.

    If the schedule already has a run with this id, or its flow control finds a run, that run is the result. NOT_FOUND,
    SCHEDULE_COMPLETED, SCHEDULE_DELETING; RUN_ID_CONFLICT if the id belongs to a run that is not of this schedule.
    """
    schedule = existing(loaded.schedule, "Schedule")
    if loaded.run is not None:
        if loaded.run.schedule_id != schedule.id:
            raise Error(
                "RUN_ID_CONFLICT",
                f"The run id {loaded.run.run_id} is taken by a run that is not of this schedule",
            )
        return Transition(loaded.run, duplicate=True)
    if schedule.status == "deleting":
        raise Error("SCHEDULE_DELETING", "The schedule is being deleted and starts no more runs")
    changed = fired(schedule, loaded.now)
    members: dict[str, Any] = {"owner_kind": "project", "owner_id": schedule.project_id}
    conversation, message = None, None
    if schedule.target_kind == "agent":
        conversation = _conversation(schedule, firing, loaded.now)
        place = schedule.conversation_id if conversation is None else conversation.id
        assert place is not None
        message = NewMessage(firing.message_id, place, firing.created_by)
        members = _agent(schedule, firing, place)
    else:
        members["config"] = schedule.config
    if schedule.target_kind == "workflow":
        members["workflow_id"] = schedule.target_id
    run = Run(
        uid=firing.uid,
        project_id=schedule.project_id,
        run_id=firing.run_id,
        kind=schedule.target_kind,
        status=RunStatus.PENDING,
        root_run_id=firing.run_id,
        created_at=0,
        updated_at=0,
        target=schedule.target,
        schedule_id=schedule.id,
        runtime_target_kind=schedule.runtime_target_kind,
        runtime_target_environment_id=schedule.runtime_target_environment_id,
        runtime_target_branch_id=schedule.runtime_target_branch_id,
        trigger_kind=firing.trigger_kind,
        trigger_id=schedule.id,
        created_by=firing.created_by,
        trace_context=firing.trace_context,
        title=firing.title or schedule.name,
        timeout_seconds=schedule.timeout_seconds,
        backoff_limit=schedule.backoff_limit,
        scheduled_at=firing.scheduled_at,
        missed_since=firing.missed_since,
        **members,
    )
    flow = schedule.flow_control
    run = keyed(run, flow)
    found = find_existing(run, flow, loaded)
    if found is not None:
        return found
    if flow.debounce is not None:
        run = delay(run, flow.debounce, loaded.now)
    created = create(run, now=loaded.now, message=message, push_service_id=loaded.push_service_id)
    return replace(created, schedule=changed, conversation=conversation)


def _conversation(schedule: Schedule, firing: Firing, now: int) -> Conversation | None:
    """Return the new conversation of an agent run, None if it uses an existing one.

    The mode `none` also creates one.
    """
    if schedule.conversation_mode == "existing":
        return None
    return Conversation(
        firing.conversation_id,
        schedule.project_id,
        "agent_task" if schedule.conversation_mode == "none" else "project_agent",
        now,
        now,
        title=firing.title or schedule.name,
        agent_id=schedule.target_id,
        created_by=firing.created_by,
    )


def _agent(schedule: Schedule, firing: Firing, place: str) -> dict[str, Any]:
    """Return the fields of an agent run, whose input is the prompt of the schedule's config."""
    prompt = agent_defaults.Prompt(
        agent_id=schedule.target_id,
        conversation_id=place,
        message_id=firing.message_id,
        texts=agent_defaults.prompt_texts(schedule.config),
        branch_id=schedule.runtime_target_branch_id,
        requested_by_user_id=firing.requested_by_user_id,
    )
    members = agent_defaults.agent_run_fields(prompt, schedule.project_id, firing.run_id)
    return {"config": schedule.config, **members}
