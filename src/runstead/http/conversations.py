"""Conversations, and agent runs as they show them."""

from typing import Annotated

import msgspec
from msgspec import Meta

from runstead import limits
from runstead.clock import iso, iso_or_none
from runstead.commands import conversations as commands, runs
from runstead.conversation import Conversation, ConversationType
from runstead.http.bodies import NO_NUL, JsonObject, Name, PageInfo, json_object
from runstead.http.endpoint import Call, Nothing, Reply, Routes
from runstead.http.events import named_in_conversation
from runstead.http.run_view import JsonObjectOrNull, ProjectionView, Timestamp, projection, raw

routes = Routes("Conversations")


class CreateConversation(msgspec.Struct, frozen=True, kw_only=True):
    """Without a project: the key's project, or the user's personal scope."""

    project_id: Name | None = None
    type: ConversationType = "chat"
    title: Annotated[str, Meta(max_length=limits.conversation_title_chars_max, pattern=NO_NUL)] | None = None
    metadata: JsonObject | None = None


class ConversationView(msgspec.Struct, frozen=True):
    id: str
    type: ConversationType
    status: str
    message_count: int
    created_by: str | None
    created_at: Timestamp
    updated_at: Timestamp
    project_id: str | None
    title: str | None
    summary: str | None
    current_node: str | None
    last_message_at: Timestamp | None
    metadata: JsonObjectOrNull
    agent_id: str | None
    runtime_target_kind: str | None
    runtime_target_environment_id: str | None
    runtime_target_branch_id: str | None
    archived_at: Timestamp | None


def view(conversation: Conversation) -> ConversationView:
    return ConversationView(
        conversation.id,
        conversation.type,
        conversation.status,
        conversation.message_count,
        conversation.created_by,
        iso(conversation.created_at),
        iso(conversation.updated_at),
        None if conversation.personal else conversation.project_id,
        conversation.title,
        conversation.summary,
        None,
        iso_or_none(conversation.last_message_at),
        raw(conversation.metadata),
        conversation.agent_id,
        None,
        None,
        None,
        iso_or_none(conversation.archived_at),
    )


@routes.route(
    "POST",
    "/conversations",
    body=CreateConversation,
    answer=ConversationView,
    status=201,
    errors=("NOT_FOUND", "STORE_BUSY", "STORE_UNAVAILABLE"),
)
async def create(call: Call[CreateConversation, Nothing]) -> Reply:
    """Create a conversation, where agent runs speak."""
    body = call.body
    new = commands.NewConversation(
        project=body.project_id, type=body.type, title=body.title, metadata=json_object(body.metadata)
    )
    return await call.once(
        lambda seal: commands.create(call.app, call.principal, new, seal),
        lambda made: Reply(201, view(made), {"Location": f"/conversations/{made.id}"}),
    )


@routes.route("GET", "/conversations/{conversation_id}", answer=ConversationView, errors=("NOT_FOUND",))
async def get(call: Call[Nothing, Nothing]) -> Reply:
    """One conversation."""
    found = await commands.get(call.app, call.principal, call.path["conversation_id"])
    return Reply(200, view(found))


@routes.route(
    "GET",
    "/conversations/{conversation_id}/runs/{run_id}",
    answer=ProjectionView,
    errors=("NOT_FOUND",),
)
async def get_run(call: Call[Nothing, Nothing]) -> Reply:
    """An agent run as its conversation shows it."""
    return Reply(200, projection(await runs.get(call.app, call.principal, named_in_conversation(call))))


class ProjectionPage(msgspec.Struct, frozen=True):
    data: list[ProjectionView]
    page_info: PageInfo


@routes.route(
    "GET",
    "/conversations/{conversation_id}/runs/{run_id}/children",
    answer=ProjectionPage,
    errors=("NOT_FOUND",),
)
async def children(call: Call[Nothing, Nothing]) -> Reply:
    """The agent runs right below an agent run, oldest first."""
    found = await runs.children(call.app, call.principal, named_in_conversation(call))
    return Reply(200, ProjectionPage([projection(run) for run in found if run.kind == "agent"], PageInfo()))
