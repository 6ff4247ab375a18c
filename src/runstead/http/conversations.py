"""Conversations and their agent runs: `/conversations…`."""

from typing import Annotated, Any, Literal

import msgspec

from runstead.commands import conversations as commands, runs
from runstead.core import limits
from runstead.core.conversations.conversation import (
    Change,
    Conversation,
    ConversationStatus,
    ConversationType,
)
from runstead.core.identity.principal import for_reading
from runstead.core.runs.run import OMITTABLE
from runstead.http.answers import page_of
from runstead.http.arguments import from_body, scoped
from runstead.http.bounds import text
from runstead.http.events import conversation_run_ref
from runstead.http.framework import values
from runstead.http.framework.endpoint import Call, Nothing, Reply, Routes
from runstead.http.framework.list_page import Fields, Fitted, chosen, fitted, paged
from runstead.http.framework.problems import CHANGE, LOOKUP
from runstead.http.framework.values import Count, JsonObject, Name, PageLimit
from runstead.http.framework.views import JsonObjectOrNull, Timestamp, view_of
from runstead.http.run_view import ProjectionView, projection
from runstead.ports.store import ConversationQuery, SeqPage

routes = Routes("Conversations")

_CONVERSATION = "/conversations/{conversation_id}"
_RUN = _CONVERSATION + "/runs/{run_id}"


ShownStatus = Literal["active", "archived"]
_Title = Annotated[str, text(limits.conversation_title_chars_max)]


class CreateConversation(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation to create.

    Without `project_id`: in the key's project, or in the user's personal project.
    """

    project_id: Name | None = None
    type: ConversationType = "chat"
    title: _Title | None = None
    metadata: JsonObject | None = None


class ConversationView(msgspec.Struct, frozen=True):
    id: str
    type: ConversationType
    status: ConversationStatus
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


ConversationPage = page_of("ConversationPage", ConversationView)
ProjectionPage = page_of("ProjectionPage", ProjectionView)


def view(conversation: Conversation) -> ConversationView:
    return view_of(
        ConversationView,
        conversation,
        project_id=None if conversation.personal else conversation.project_id,
        runtime_target_kind=None,
        runtime_target_environment_id=None,
        runtime_target_branch_id=None,
    )


@routes.route(
    "POST",
    "/conversations",
    body=CreateConversation,
    answer=ConversationView,
    status=201,
    errors=CHANGE,
    location="/conversations/{id}",
)
async def create(call: Call[CreateConversation, Nothing]) -> Reply:
    """Create a conversation. Agent runs write their messages in it."""
    body = call.body
    new = from_body(
        commands.NewConversation,
        body,
        project=body.project_id,
        metadata=values.bounded(
            "metadata", values.json_object(body.metadata), limits.conversation_metadata_bytes_max
        ),
    )
    return await call.idempotent(
        lambda record: commands.create(call.app, call.principal, new, record),
        lambda created: Reply(201, view(created)),
    )


@routes.route("GET", _CONVERSATION, answer=ConversationView, errors=LOOKUP)
async def get(call: Call[Nothing, Nothing]) -> Reply:
    """Get a conversation."""
    app, principal, conversation_id = scoped(call)
    found = await commands.get(app, for_reading(principal, "conversation_reader"), conversation_id)
    return Reply(200, view(found))


@routes.route("GET", _RUN, answer=ProjectionView, errors=LOOKUP)
async def get_run(call: Call[Nothing, Nothing]) -> Reply:
    """Get an agent run as its conversation shows it."""
    found = await runs.get(call.app, for_reading(call.principal), conversation_run_ref(call))
    return Reply(200, projection(found))


class NumberedPage(msgspec.Struct, frozen=True, kw_only=True):
    """`cursor` is `page_info.next` of the previous page."""

    cursor: Count | None = None
    limit: PageLimit = limits.page_rows_default


def numbered(query: NumberedPage, page: Fitted[Any]) -> Reply:
    """Answer with a page of rows, whose cursor is the seq of its last row."""
    return Reply(200, paged(page, query.cursor, lambda last: last.seq))


class ProjectionsQuery(NumberedPage, frozen=True, kw_only=True):
    fields: Fields = []


@routes.route("GET", _RUN + "/children", query=ProjectionsQuery, answer=ProjectionPage, errors=LOOKUP)
async def children(call: Call[Nothing, ProjectionsQuery]) -> Reply:
    """List the child agent runs of an agent run, of any conversation, oldest first."""
    query = call.query
    members = chosen(query.fields, ProjectionView)
    asked = SeqPage(
        limit=query.limit,
        after=query.cursor or 0,
        omit=OMITTABLE - {"agent", "error", *({"metadata"} if not members or "metadata" in members else ())},
        bytes_max=limits.list_page_bytes_max,
    )
    found = await runs.children(call.app, call.principal, conversation_run_ref(call), asked, "agent")
    return numbered(query, fitted(found, projection, members))


class ConversationFilter(NumberedPage, frozen=True, kw_only=True):
    """Filters of a list of conversations. `project_id` is an id or slug."""

    project_id: Name | None = None
    status: ShownStatus | None = None


@routes.route("GET", "/conversations", query=ConversationFilter, answer=ConversationPage, errors=LOOKUP)
async def page(call: Call[Nothing, ConversationFilter]) -> Reply:
    """List the conversations of the caller's projects, the personal one included, newest first."""
    query = call.query
    wanted = ConversationQuery((), query.status, query.cursor, query.limit)
    found = await commands.page(call.app, call.principal, query.project_id, wanted)
    return numbered(query, fitted(found, view))


class UpdateConversation(msgspec.Struct, frozen=True, kw_only=True):
    """Members that are left out are not changed.

    `project_id` moves a personal conversation into a project.
    """

    title: _Title | msgspec.UnsetType | None = msgspec.UNSET
    summary: Annotated[str, text(limits.conversation_summary_chars_max)] | msgspec.UnsetType | None = (
        msgspec.UNSET
    )
    status: ShownStatus | msgspec.UnsetType = msgspec.UNSET
    project_id: Name | msgspec.UnsetType = msgspec.UNSET


@routes.route(
    "PATCH",
    _CONVERSATION,
    body=UpdateConversation,
    answer=ConversationView,
    errors=(*CHANGE, "CONVERSATION_LINKED", "RUN_ID_CONFLICT"),
)
async def change(call: Call[UpdateConversation, Nothing]) -> Reply:
    """Change a conversation's title, summary or status, or move it into a project."""
    wanted = from_body(Change, call.body)
    return await call.idempotent(
        lambda record: commands.change(*scoped(call), wanted, record),
        lambda changed: Reply(200, view(changed)),
    )


@routes.route("DELETE", _CONVERSATION, answer=ConversationView, errors=CHANGE)
async def delete(call: Call[Nothing, Nothing]) -> Reply:
    """Delete a conversation: it is not found from now on. Its runs continue."""
    return Reply(200, view(await commands.delete(*scoped(call))))
