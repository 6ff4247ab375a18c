"""Conversations, and the projections of agent runs in them."""

from datetime import datetime
from typing import Any, Literal

from runstead.sdk.models.response import Listing, ResponseModel
from runstead.sdk.models.run import TERMINAL_STATUSES

ConversationType = Literal["chat", "agent_task", "support", "channel", "project_agent"]


class Conversation(ResponseModel, frozen=True, kw_only=True):
    """A conversation. `message_count` is the number of its messages."""

    id: str
    type: str
    status: str
    created_at: datetime
    updated_at: datetime
    message_count: int = 0
    created_by: str | None = None
    project_id: str | None = None
    title: str | None = None
    summary: str | None = None
    current_node: str | None = None
    last_message_at: datetime | None = None
    metadata: Any = None
    agent_id: str | None = None
    runtime_target_kind: str | None = None
    runtime_target_environment_id: str | None = None
    runtime_target_branch_id: str | None = None
    archived_at: datetime | None = None


class ConversationPage(Listing[Conversation], frozen=True, kw_only=True):
    """One page of conversations, newest first."""


class Projection(ResponseModel, frozen=True, kw_only=True):
    """An agent run in the form of its conversation. A waiting run has the status `waiting_for_tool` here."""

    run_id: str
    conversation_id: str
    status: str
    message_id: str | None = None
    project_id: str | None = None
    requested_by_user_id: str | None = None
    agent_id: str | None = None
    implementation_kind: str | None = None
    worker_key: str | None = None
    source_target_kind: str | None = None
    source_target_environment_id: str | None = None
    source_target_branch_id: str | None = None
    source_target_release_version: str | None = None
    runtime_target_kind: str | None = None
    runtime_target_environment_id: str | None = None
    runtime_target_branch_id: str | None = None
    parent_conversation_id: str | None = None
    parent_run_id: str | None = None
    spawned_from_message_id: str | None = None
    spawned_from_tool_call_id: str | None = None
    input_anchor_message_id: str | None = None
    handoff_message_id: str | None = None
    resolved_deployment_id: str | None = None
    latest_event_id: int = 0
    latest_external_event_sequence: int | None = None
    waiting_tool_call_id: str | None = None
    waiting_tool_name: str | None = None
    terminal_error_code: str | None = None
    terminal_error_message: str | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    metadata: Any = None

    @property
    def terminal(self) -> bool:
        """Whether the run has ended: completed, failed or cancelled."""
        return self.status in TERMINAL_STATUSES


class ProjectionPage(Listing[Projection], frozen=True, kw_only=True):
    """One page of the runs of a conversation."""
