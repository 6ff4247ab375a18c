"""Conversations."""

import uuid

import msgspec

from runstead.clock import now_ms
from runstead.commands import locate
from runstead.commands.app import App
from runstead.conversation import Conversation, ConversationType
from runstead.errors import Error
from runstead.principal import Principal, Scope, refuse_bound, require
from runstead.project import personal_project, user_uuid
from runstead.seal import Seal


class NewConversation(msgspec.Struct, frozen=True, kw_only=True):
    project: str | None = None  # id or slug; None: the key's project, or the user's personal scope
    type: ConversationType = "chat"
    title: str | None = None
    metadata: bytes | None = None


async def create(
    app: App, principal: Principal, new: NewConversation, seal: Seal | None = None
) -> Conversation:
    if not principal.family:  # a push service starts those of the runs below its own
        refuse_bound(principal, "starts no conversations")
    personal = False
    if new.project is not None:
        project_id = (await locate.project(app, principal, Scope.RUNS_WRITE, new.project)).id
    elif (
        principal.kind == "user" and (own := personal_project(principal.id, now_ms())).id in principal.grants
    ):
        require(principal, Scope.RUNS_WRITE, own.id, "Project")
        project_id = (await app.store.directory.ensure_project(own, None, None)).id
        personal = True
    elif len(principal.grants) == 1:
        (project_id,) = principal.grants
        require(principal, Scope.RUNS_WRITE, project_id, "Project")
    else:
        raise Error(
            "INVALID_REQUEST", "Name the conversation's project_id: the token reaches several projects"
        )
    now = now_ms()
    conversation = Conversation(
        str(uuid.uuid4()),
        project_id,
        new.type,
        now,
        now,
        personal=personal,
        title=new.title,
        metadata=new.metadata,
        created_by=user_uuid(principal.id),
    )
    return await app.store.conversations.create(conversation, seal)


async def get(app: App, principal: Principal, conversation_id: str) -> Conversation:
    refuse_bound(principal, "reads no conversations")
    return await locate.conversation(app, principal, Scope.RUNS_READ, conversation_id)
