"""Conversations: create, read, change and delete them."""

import uuid

import msgspec
from msgspec.structs import replace

from runstead.commands import locate, runs
from runstead.commands.app import App
from runstead.core.clock import now_ms
from runstead.core.conversations import conversation as rules
from runstead.core.conversations.conversation import Change, Conversation, ConversationType, live
from runstead.core.errors import Error, not_found
from runstead.core.idempotency import Idempotency
from runstead.core.identity.principal import Principal, Scope, refuse_bound, require
from runstead.core.identity.project import personal_project, user_uuid
from runstead.ports.store import ConversationQuery, ListPage


class NewConversation(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation to create. `metadata` is JSON text."""

    project: str | None = None  # id or slug; None: the key's project, or the user's personal project
    type: ConversationType = "chat"
    title: str | None = None
    metadata: bytes | None = None


async def create(
    app: App, principal: Principal, new: NewConversation, idempotency: Idempotency = None
) -> Conversation:
    """Create a conversation. Raises NOT_FOUND, FORBIDDEN, INVALID_REQUEST."""
    if not principal.family:  # a push service creates the conversations of its run's descendants
        refuse_bound(principal, "cannot create conversations")
    personal = False
    if new.project is not None:
        project_id = (await locate.project(app, principal, Scope.RUNS_WRITE, new.project)).id
    elif (
        principal.kind == "user" and (own := personal_project(principal.id, now_ms())).id in principal.grants
    ):
        require(principal, Scope.RUNS_WRITE, own.id, "Project")
        project_id = (await app.store.identity.ensure_project(own, None, None)).id
        personal = True
    elif len(principal.grants) == 1:
        (project_id,) = principal.grants
        require(principal, Scope.RUNS_WRITE, project_id, "Project")
    else:
        raise Error("INVALID_REQUEST", "Set project_id: the credential has access to several projects")
    conversation = Conversation(
        str(uuid.uuid4()),
        project_id,
        new.type,
        0,
        0,
        personal=personal,
        title=new.title,
        metadata=new.metadata,
        created_by=user_uuid(principal.id),
        run_id=principal.run_id,
    )
    created = await app.store.conversations.create(conversation, idempotency)
    app.publish_conversation(created)
    return created


async def get(app: App, principal: Principal, conversation_id: str) -> Conversation:
    """Return a conversation. Raises NOT_FOUND."""
    if principal.kind != "conversation_reader":
        refuse_bound(principal, "cannot read conversations")
    return await locate.conversation(app, principal, Scope.RUNS_READ, conversation_id)


async def page(
    app: App, principal: Principal, project: str | None, query: ConversationQuery
) -> ListPage[Conversation]:
    """List the conversations of one project, or of every project that the caller may read."""
    refuse_bound(principal, "cannot read conversations")
    ids = await runs.readable(app, principal, project)
    return await app.store.conversations.page(replace(query, project_ids=ids))


async def change(
    app: App, principal: Principal, conversation_id: str, wanted: Change, idempotency: Idempotency = None
) -> Conversation:
    """Change the members that are set.

    A `project_id` (id or slug) moves a personal conversation with its runs.

    Raises NOT_FOUND, RUN_ID_CONFLICT; CONVERSATION_LINKED where the conversation already has a project, or a
    run has relatives in other conversations.
    """
    refuse_bound(principal, "cannot change conversations")
    found = await locate.conversation(app, principal, Scope.RUNS_WRITE, conversation_id)
    if wanted.project_id is not msgspec.UNSET:
        project = await locate.project(app, principal, Scope.RUNS_WRITE, wanted.project_id)
        wanted = replace(wanted, project_id=project.id)

    def decide(current: Conversation | None, now: int) -> Conversation:
        return rules.change(_unmoved(current, found), wanted, now=now)

    changed = await app.store.conversations.change(conversation_id, decide, idempotency)
    app.publish_conversation(changed)
    return changed


async def delete(app: App, principal: Principal, conversation_id: str) -> Conversation:
    """Mark the conversation as deleted. Its messages stay stored, and its runs continue. Raises NOT_FOUND."""
    refuse_bound(principal, "cannot delete conversations")
    found = await locate.conversation(app, principal, Scope.RUNS_WRITE, conversation_id)
    deleted = await app.store.conversations.change(
        conversation_id, lambda current, now: rules.delete(_unmoved(current, found), now=now)
    )
    app.publish_conversation(deleted)
    return deleted


def _unmoved(current: Conversation | None, authorized: Conversation) -> Conversation:
    """Return the locked conversation.

    Raises NOT_FOUND if it moved to another project since it was authorized.
    """
    if live(current).project_id != authorized.project_id:
        raise not_found("Conversation")
    return live(current)
