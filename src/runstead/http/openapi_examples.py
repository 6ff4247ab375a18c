"""Bodies as callers send them, by the name of their shape: the document shows them with every route that takes one."""

from typing import Any, Final

_PROJECT: Final = {"kind": "project", "id": "7f6c2f0e-6a1b-4c83-9f3e-0d9f6a3b1c52"}
_CONVERSATION: Final = {"kind": "conversation", "id": "3d1c9a54-0f0e-4a53-8b1e-5f6f1f0f7a11"}

#: Shape → name of the example → the body.
EXAMPLES: Final[dict[str, dict[str, dict[str, Any]]]] = {
    "CreateRun": {
        "task": {
            "kind": "task",
            "owner": _PROJECT,
            "request": {"target": "task:greet", "input": {"name": "Ada"}, "timeout_seconds": 60},
            "labels": {"team": "inventory"},
        },
        "workflow": {"kind": "workflow", "owner": _PROJECT, "request": {"workflow_id": "restock"}},
        "eval": {"kind": "eval", "owner": _PROJECT, "request": {"target": "eval:tone", "backoff_limit": 0}},
        "agent": {
            "kind": "agent",
            "owner": _CONVERSATION,
            "request": {"agent_id": "scribe", "input": {"messages": [{"role": "user", "content": "Hello"}]}},
        },
    },
    "AppendEvents": {
        "events": {
            "events": [
                {"type": "STEP_STARTED", "stepName": "greet"},
                {"type": "CUSTOM", "name": "note", "value": {"greeted": 1}},
            ]
        }
    },
    "CompleteRun": {
        "completed": {"status": "completed", "output": {"greeting": "Hello, Ada"}},
        "failed": {
            "status": "failed",
            "terminal_error_code": "NO_STOCK",
            "terminal_error_message": "Nothing is left",
        },
    },
    "CancelRun": {"reason": {"reason": "No longer needed"}},
    "WaitRun": {"tool": {"reason": "tool", "tool_call_id": "call_1", "tool_name": "ask_a_person"}},
    "ResumeRun": {
        "tool_result": {"type": "tool_result", "tool_call_id": "call_1", "result": {"approved": True}},
        "approval": {"type": "approval"},
    },
    "Heartbeat": {"renewal": {"attempt": 1, "lease_duration_seconds": 60}},
    "RegisterWorker": {"worker": {"implementation_kind": "python", "worker_key": "greeter-1"}},
    "ClaimRuns": {"targets": {"targets": ["task:greet"], "lease_duration_seconds": 60}},
    "RenewLease": {"lease": {"lease_duration_seconds": 60}},
    "ReleaseRun": {"later": {"error": {"message": "The store is closed"}, "retry_after_seconds": 30}},
    "PutSession": {"session": {"session_key": "session-1", "status": "active"}},
    "CreateConversation": {"chat": {"title": "Inventory", "metadata": {"channel": "web"}}},
    "CreateProject": {"project": {"slug": "inventory", "name": "Inventory"}},
    "CreateKey": {"reader": {"name": "dashboard", "scopes": ["runs:read"]}},
    "PutMember": {"viewer": {"user_id": "ada", "role": "viewer"}},
}
