"""Conversations: where agent runs speak, and the messages in them."""

from typing import Literal

import msgspec

ConversationType = Literal["chat", "agent_task", "support", "channel", "project_agent"]


class Conversation(msgspec.Struct, frozen=True):
    """One conversation. `message_count` is also the number of the newest message."""

    id: str
    project_id: str  # for one without a project: the personal scope of its user
    type: ConversationType
    created_at: int
    updated_at: int
    personal: bool = False
    status: str = "active"
    title: str | None = None
    summary: str | None = None
    metadata: bytes | None = None
    agent_id: str | None = None
    message_count: int = 0
    last_message_at: int | None = None
    created_by: str | None = None
    archived_at: int | None = None
