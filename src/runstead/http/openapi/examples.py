"""Examples of request bodies by type name. The document shows them in the routes with that body."""

from typing import Any, Final

_PROJECT: Final = {"kind": "project", "id": "7f6c2f0e-6a1b-4c83-9f3e-0d9f6a3b1c52"}
_CONVERSATION: Final = {"kind": "conversation", "id": "3d1c9a54-0f0e-4a53-8b1e-5f6f1f0f7a11"}

#: Name of the type → name of the example → the body.
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
    "CreateBulkJob": {
        "retry_failed_runs": {
            "action": "retry",
            "filter": {"status": ["failed"], "target": ["task:index"]},
            "from_step": "failed",
        }
    },
    "RetryRun": {"from_the_failed_step": {"from_step": "failed", "title": "Second try"}},
    "RegisterCompensation": {
        "refund": {"target": "task:refund", "input": {"charge": "ch_77"}, "idempotency_key": "charge"}
    },
    "SendSignal": {"payment": {"name": "paid", "payload": {"euros": 12}, "idempotency_key": "payment-77"}},
    "PublishEvent": {
        "paid": {"name": "paid", "data": {"order": {"id": "o-77"}, "euros": 12}, "id": "payment-77"}
    },
    "CreateConversationToken": {"page": {"expires_in_seconds": 3_600}},
    "CreateAccessToken": {"page": {"expires_in_seconds": 3_600, "family": True}},
    "Heartbeat": {"renewal": {"attempt": 1, "lease_duration_seconds": 60}},
    "RegisterWorker": {"worker": {"implementation_kind": "python", "worker_key": "greeter-1"}},
    "ClaimRuns": {"targets": {"targets": ["task:greet"], "lease_duration_seconds": 60}},
    "RenewLease": {"lease": {"lease_duration_seconds": 60}},
    "ReleaseRun": {"later": {"error": {"message": "The store is closed"}, "retry_after_seconds": 30}},
    "PutSession": {"session": {"session_key": "session-1", "status": "active"}},
    "CreateConversation": {"chat": {"title": "Inventory", "metadata": {"channel": "web"}}},
    "UpdateConversation": {"archive": {"title": "Inventory of May", "status": "archived"}},
    "AddMessage": {
        "text": {"role": "user", "parts": [{"type": "text", "text": "Restock the shelves, please"}]},
    },
    "CreateInputRequest": {
        "form": {
            "run_id": "run_4c1f9d1e-8a1b-4a37-9df1-6f1f0e1f3a77",
            "tool_call_id": "call_2",
            "kind": "form",
            "requested_responder_type": "human",
            "title": "Order more?",
            "fields": [
                {"name": "count", "label": "How many", "type": "number", "required": True, "min": 1},
                {"name": "note", "label": "Note", "type": "textarea"},
            ],
        },
    },
    "RespondToInput": {"values": {"values": {"count": 12, "note": "Before Friday"}}},
    "UpdateRun": {"names": {"title": "Restock of May", "labels": {"team": "inventory"}}},
    "CreateSchedule": {
        "task": {
            "name": "Nightly restock",
            "target": {"kind": "task", "id": "restock"},
            "schedule": "30 2 * * *",
            "timezone": "Europe/Berlin",
            "config": {"shelves": ["A", "B"]},
        },
        "agent": {
            "name": "Morning report",
            "target": {"kind": "agent", "id": "scribe", "conversation_mode": "create_new"},
            "schedule": "0 8 * * MON-FRI",
            "config": {"prompt": "What ran last night?"},
        },
        "once": {
            "name": "Close the books",
            "target": {"kind": "workflow", "id": "close-books"},
            "run_at": "2099-12-31T23:00:00Z",
        },
    },
    "UpdateSchedule": {
        "pause": {"status": "paused", "paused_reason": "Stock-taking"},
        "resume": {"status": "active"},
        "edit": {"schedule": "0 4 * * *", "max_runs": 10},
    },
    "SyncSourceSchedules": {
        "all": {
            "schedules": [
                {
                    "source_trigger_id": "nightly-restock",
                    "source_path": "schedules/restock.ts",
                    "name": "Nightly restock",
                    "target": {"kind": "task", "id": "restock"},
                    "schedule": "30 2 * * *",
                }
            ]
        },
        "app": {
            "app": "billing",
            "schedules": [
                {
                    "source_trigger_id": "workflow:invoice",
                    "name": "invoice",
                    "target": {"kind": "workflow", "id": "invoice"},
                    "schedule": "30 2 * * *",
                    "timezone": "Europe/Berlin",
                }
            ],
        },
    },
    "RunSchedule": {"now": {"idempotency_key": "restock-2026-05-02", "run_name": "Restock by hand"}},
    "CreateWebhook": {
        "ends": {
            "url": "https://hooks.example/runstead",
            "events": ["run.completed", "run.failed", "run.cancelled"],
        },
    },
    "CreateAlert": {
        "failures": {
            "kind": "failure_rate",
            "target": "task:report",
            "threshold": 0.2,
            "window_seconds": 3600,
        },
        "queue": {"kind": "pending_age", "threshold": 600, "for_seconds": 60, "repeat_seconds": 3600},
    },
    "UpdateAlert": {"change": {"threshold": 0.3, "webhook_id": None}},
    "CreateBudget": {
        "day": {
            "scope": {"kind": "project"},
            "period": "day",
            "limit": {"cost": "25.00"},
            "on_reached": "pause",
        },
        "family": {
            "scope": {"kind": "target", "value": "workflow:research"},
            "period": "run_family",
            "limit": {"tokens": 200_000},
            "on_reached": "fail",
            "alert_at_percent": 90,
        },
    },
    "UpdateBudget": {"raise": {"limit": {"cost": "40.00"}}},
    "MuteAlert": {"weekend": {"until": "2100-01-04T08:00:00Z"}, "forever": {}},
    "UpdateWebhook": {"enable": {"enabled": True}},
    "RotateWebhook": {"made": {}},
    "CreateTrigger": {
        "build": {"name": "Push to main", "target": "task:build", "config": {"branch": "main"}},
        "mail": {"name": "Mail", "target": "agent:scribe", "config": {"prompt": "Sort this mail."}},
    },
    "UpdateTrigger": {"disable": {"enabled": False}},
    "PutQuota": {"project": {"requests_per_minute": 6000, "runs_pending": 100000}},
    "PutLimit": {
        "per key": {"max_running": 20, "max_running_per_key": 2},
        "rate": {"rate": {"limit": 100, "period_seconds": 60, "per_key": True}},
        "rate of tokens": {"rate": {"limit": 90_000, "period_seconds": 60, "unit": "tokens"}},
    },
    "PutConcurrencyLimits": {
        "limits": {"limits": [{"max_running": 50}, {"target": "task:restock", "max_running": 1}]},
    },
    "PutPrice": {
        "model": {"provider": "acme", "model": "large-2", "input": 3_000_000, "output": 15_000_000},
        "others": {"provider": "acme", "model": "*", "input": 500_000, "output": 2_000_000, "cached": 50_000},
    },
    "CreateBatch": {
        "tasks": {
            "name": "Restock of May",
            "runs": [
                {"kind": "task", "request": {"target": "task:restock", "config": {"shelf": "A"}}},
                {"kind": "task", "request": {"target": "task:restock", "config": {"shelf": "B"}}},
            ],
            "on_complete": {"target": "task:report"},
        },
    },
    "RetryBatch": {"all": {"cancelled": True, "name": "Restock of May, second try"}},
    "RegisterPushService": {
        "project": {
            "service_name": "scribe",
            "service_key": "scribe-1",
            "scope_kind": "project",
            "project_id": "inventory",
            "agent_id": "scribe",
            "base_url": "https://scribe.example",
            "invoke_url": "https://scribe.example/invoke",
        },
    },
    "ChangeProject": {"fenced": {"require_attempt": True}},
    "CreateProject": {"project": {"slug": "inventory", "name": "Inventory"}},
    "CreateKey": {"reader": {"name": "dashboard", "scopes": ["runs:read"]}},
    "ChangeKey": {"slower": {"requests_per_minute": 600, "runs_per_minute": None}},
    "PutMember": {"viewer": {"user_id": "ada", "role": "viewer"}},
}
