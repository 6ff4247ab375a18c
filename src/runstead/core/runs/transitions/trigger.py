"""Create a run when a trigger is called."""

from typing import Any

import msgspec
from msgspec.structs import replace

from runstead.core import limits
from runstead.core.conversations.conversation import Conversation
from runstead.core.errors import Error
from runstead.core.runs.flow import keyed
from runstead.core.runs.run import Run, RunStatus
from runstead.core.runs.transition import Loaded, NewMessage, Transition
from runstead.core.runs.transitions import agent_defaults
from runstead.core.runs.transitions.create import create
from runstead.core.runs.transitions.flow import delay, find_existing
from runstead.core.schedules.trigger import Trigger, refuse_other_payload


class TriggerCall(msgspec.Struct, frozen=True, kw_only=True):
    """The sent `payload` (JSON text), and the ids of the new run, its message and its conversation."""

    run_id: str
    uid: str
    message_id: str
    conversation_id: str
    payload: bytes | None = None
    trace_context: str | None = None


def create_from_trigger(loaded: Loaded, trigger: Trigger, made: TriggerCall) -> Transition:
    """Create a run of the trigger's target. An agent run gets a new conversation unless the trigger names
    one.

    If a run with this id exists, or one that the trigger's flow control finds, that run is the result.
    IDEMPOTENCY_KEY_REUSED if it was created with another payload; REQUEST_SNAPSHOT_TOO_LARGE.
    """
    if loaded.run is not None:
        refuse_other_payload(loaded.run, made.payload)
        return Transition(loaded.run, duplicate=True)
    kind, _, target_id = trigger.target.partition(":")
    members: dict[str, Any] = {"owner_kind": "project", "owner_id": trigger.project_id}
    conversation, message = None, None
    if kind == "agent":
        if trigger.conversation_id is None:
            conversation = Conversation(
                made.conversation_id,
                trigger.project_id,
                "project_agent",
                loaded.now,
                loaded.now,
                title=trigger.name,
                agent_id=target_id,
            )
        place = trigger.conversation_id or made.conversation_id
        message = NewMessage(made.message_id, place, None)
        members = _agent(trigger, made, place, target_id)
    run = Run(
        uid=made.uid,
        project_id=trigger.project_id,
        run_id=made.run_id,
        kind=trigger.kind,
        status=RunStatus.PENDING,
        root_run_id=made.run_id,
        created_at=0,
        updated_at=0,
        target=trigger.target,
        workflow_id=target_id if kind == "workflow" else None,
        trigger_kind="webhook",
        trigger_id=trigger.id,
        trace_context=made.trace_context,
        title=trigger.name,
        config=trigger.config,
        input=made.payload,
        **members,
    )
    flow = trigger.flow_control
    run = keyed(run, flow)
    existing = find_existing(run, flow, loaded)
    if existing is not None:
        return existing
    if flow.debounce is not None:
        run = delay(run, flow.debounce, loaded.now)
    created = create(run, now=loaded.now, message=message, push_service_id=loaded.push_service_id)
    return replace(created, conversation=conversation)


def _agent(trigger: Trigger, made: TriggerCall, place: str, agent_id: str) -> dict[str, Any]:
    """Return the fields of an agent run. Its input is the trigger's prompt and the payload: a string as it
    is, any other value as JSON.
    """
    payload = None if made.payload is None else msgspec.json.decode(made.payload)
    texts = agent_defaults.prompt_texts(trigger.config)
    if payload is not None and payload != "":
        texts.append(payload if isinstance(payload, str) else bytes(made.payload or b"").decode())
    prompt = agent_defaults.Prompt(
        agent_id=agent_id, conversation_id=place, message_id=made.message_id, texts=texts
    )
    members = agent_defaults.agent_run_fields(prompt, trigger.project_id, made.run_id)
    if len(members["request_snapshot"]) >= limits.request_snapshot_bytes_max:
        raise Error("REQUEST_SNAPSHOT_TOO_LARGE", "The agent's start payload must be less than 2 MiB as JSON")
    return members
