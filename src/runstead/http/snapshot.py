"""A run's log, folded: what a late reader needs instead of every event."""

from typing import Any

import msgspec

from runstead.commands import runs
from runstead.core import limits
from runstead.core.conversations.input_request import InputRequest
from runstead.core.runs.run import Run
from runstead.http.events import conversation_run_ref
from runstead.http.framework.endpoint import Call, Nothing, Reply, Routes
from runstead.http.inputs import view
from runstead.http.run_view import JsonObject, agent_details, projection

routes = Routes("Conversations")


class SnapshotEvent(msgspec.Struct, frozen=True):
    """`event_id` is null where the event was made by folding."""

    event_id: int | None
    event: JsonObject


class Snapshot(msgspec.Struct, frozen=True):
    """The log up to `after_event_id`: its messages, its state, then its terminal event where there is one."""

    after_event_id: int
    events: list[SnapshotEvent]


def input_request(request: InputRequest) -> dict[str, Any]:
    """An input request as clients keep it in their state: the members of an answer, in camel case. Those of its
    latest response are as in answers, since clients parse it as one.
    """
    shown = view(request)
    return {_camel(name): getattr(shown, name) for name in shown.__struct_fields__}


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(map(str.title, others))


#: Kinds of source that clients know in this place.
_SOURCES = frozenset({"project", "main_branch", "environment", "preview_branch"})


def child_run(run: Run) -> tuple[str, dict[str, Any]] | None:
    """A child under the tool call that it was spawned from, None where it came from none, or has no agent to name."""
    agent = agent_details(run)
    if agent.spawned_from_tool_call_id is None or agent.agent_id is None:
        return None
    source = agent.source_target_kind
    told = {
        "toolCallId": agent.spawned_from_tool_call_id,
        "childConversationId": run.conversation_id,
        "childRunId": run.run_id,
        "childMessageId": agent.message_id,
        "childAgentId": agent.agent_id,
        "status": projection(run).status,
        "sourceTargetKind": source if source in _SOURCES else None,
        "runtimeTargetKind": run.runtime_target_kind,
        "targetEnvironmentId": run.runtime_target_environment_id,
        "targetBranchId": run.runtime_target_branch_id,
    }
    if run.title:
        told["description"] = run.title
    return agent.spawned_from_tool_call_id, told


@routes.route(
    "GET",
    "/conversations/{conversation_id}/runs/{run_id}/snapshot",
    answer=Snapshot,
    errors=("NOT_FOUND",),
)
async def snapshot(call: Call[Nothing, Nothing]) -> Reply:
    """What an agent run has said and done so far; follow the stream after `after_event_id` from here."""
    run = await runs.get(call.app, call.principal, conversation_run_ref(call))
    fold, _, _ = await call.app.projections.build(run.seq, run.latest_event_id)
    children = await call.app.store.runs.children(run.seq, limits.snapshot_children_max, kind="agent")
    asked = await call.app.store.inputs.of_run(run.seq, limits.snapshot_inputs_max)
    folded = fold.snapshot(
        run.status,
        message_id=agent_details(run).message_id or run.run_id,
        child_runs=dict(filter(None, map(child_run, children))),
        input_requests={request.tool_call_id: input_request(request) for request in asked},
    )
    told = [SnapshotEvent(event_id, msgspec.Raw(event)) for event_id, event in folded]
    return Reply(200, Snapshot(run.latest_event_id, told))
