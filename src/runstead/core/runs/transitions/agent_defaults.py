"""Default fields of an agent run that a schedule or a trigger creates."""

from collections.abc import Sequence
from typing import Any

import msgspec

from runstead.core.runs.run import AgentDetails
from runstead.core.runs.transitions.machine import encode


class Prompt(msgspec.Struct, frozen=True, kw_only=True):
    """The agent, its input texts, and the conversation. The run writes the message `message_id`."""

    agent_id: str
    conversation_id: str
    message_id: str
    texts: Sequence[str] = ()
    branch_id: str | None = None
    requested_by_user_id: str | None = None


def agent_run_fields(prompt: Prompt, project_id: str, run_id: str) -> dict[str, Any]:
    """Return fields of the run: its conversation, and a start payload (contract A3) with the texts as a user message."""
    parts = [{"type": "text", "text": text} for text in prompt.texts]
    snapshot = {
        "messages": [{"id": f"{prompt.message_id}:prompt", "role": "user", "parts": parts}] if parts else [],
        "context": {
            "conversation_id": prompt.conversation_id,
            "project_id": project_id,
            "branch_id": prompt.branch_id,
        },
        "durable_root_run": {"run_id": run_id, "message_id": prompt.message_id},
    }
    details = AgentDetails(
        agent_id=prompt.agent_id,
        message_id=prompt.message_id,
        requested_by_user_id=prompt.requested_by_user_id,
    )
    return {
        "owner_kind": "conversation",
        "owner_id": prompt.conversation_id,
        "conversation_id": prompt.conversation_id,
        "agent": encode(details),
        "request_snapshot": encode(snapshot),
    }


def prompt_texts(config: bytes | None) -> list[str]:
    """Return the member `prompt` of a config as a list: empty if it is missing, empty or not a string."""
    prompt = None if config is None else msgspec.json.decode(config, type=dict[str, Any]).get("prompt")
    return [prompt] if isinstance(prompt, str) and prompt else []
