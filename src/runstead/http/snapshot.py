"""A snapshot of a run's log: its messages and state, for clients that join late."""

from collections.abc import Iterable
from typing import Any

import msgspec

from runstead.commands import snapshots as commands
from runstead.commands.app import App
from runstead.core import limits
from runstead.core.conversations.input_request import InputRequest
from runstead.core.runs.run import Run
from runstead.http.events import conversation_run_ref
from runstead.http.framework.endpoint import Call, Nothing, Reply, Routes
from runstead.http.framework.problems import LOOKUP
from runstead.http.framework.views import JsonObject
from runstead.http.inputs import view
from runstead.http.run_view import agent_details, projection as projection_view

routes = Routes("Conversations")


class SnapshotEvent(msgspec.Struct, frozen=True):
    """An event of a snapshot. `event_id` is null if the event was computed from others."""

    event_id: int | None
    event: JsonObject


class Snapshot(msgspec.Struct, frozen=True):
    """The log up to `after_event_id`: its messages, its state, and its terminal event if it has one."""

    after_event_id: int
    events: list[SnapshotEvent]


def input_request(request: InputRequest, app: App) -> dict[str, Any]:
    """Build an input request in the form of clients' state: the members of an answer in camel case.

    The members of its latest response keep their names, since clients parse it as an answer.
    """
    shown = view(request, app)
    return {_camel(name): getattr(shown, name) for name in shown.__struct_fields__}


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(map(str.title, others))


#: The source kinds that clients accept here.
_SOURCES = frozenset({"project", "main_branch", "environment", "preview_branch"})


def child_run(run: Run) -> tuple[str, dict[str, Any]] | None:
    """Return (tool call id, child) for a child that a tool call spawned.

    None: no tool call, or no agent id.
    """
    agent = agent_details(run)
    if agent.spawned_from_tool_call_id is None or agent.agent_id is None:
        return None
    source = agent.source_target_kind
    child: dict[str, Any] = {
        "toolCallId": agent.spawned_from_tool_call_id,
        "childConversationId": run.conversation_id,
        "childRunId": run.run_id,
        "childMessageId": agent.message_id,
        "childAgentId": agent.agent_id,
        "status": projection_view(run).status,
        "sourceTargetKind": source if source in _SOURCES else None,
        "runtimeTargetKind": run.runtime_target_kind,
        "targetEnvironmentId": run.runtime_target_environment_id,
        "targetBranchId": run.runtime_target_branch_id,
    }
    if run.title:
        child["description"] = run.title
    if run.progress is not None:
        child["progress"] = msgspec.Raw(run.progress)
    return agent.spawned_from_tool_call_id, child


def _fitting(values: Iterable[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
    """Return the first values, by key, whose JSON has at most `limits.list_page_bytes_max`."""
    found: dict[str, Any] = {}
    size = 0
    for key, value in values:
        size += len(key) + len(msgspec.json.encode(value))
        if size > limits.list_page_bytes_max:
            break
        found[key] = value
    return found


@routes.route(
    "GET", "/conversations/{conversation_id}/runs/{run_id}/snapshot", answer=Snapshot, errors=LOOKUP
)
async def snapshot(call: Call[Nothing, Nothing]) -> Reply:
    """Get a snapshot of an agent run's log. To follow the run, open its stream after `after_event_id`."""
    run, projection, children, inputs = await commands.get(
        call.app, call.principal, conversation_run_ref(call)
    )
    events = projection.snapshot(
        run.status,
        message_id=agent_details(run).message_id or run.run_id,
        child_runs=_fitting(filter(None, map(child_run, children))),
        input_requests=_fitting(
            (request.tool_call_id, input_request(request, call.app)) for request in inputs
        ),
    )
    views = [SnapshotEvent(event_id, msgspec.Raw(event)) for event_id, event in events]
    return Reply(200, Snapshot(run.latest_event_id, views))
