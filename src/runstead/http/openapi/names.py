"""Names of operations and types in the OpenAPI document.

Generated clients name functions and types after them.
"""

from typing import Any, Final, get_args

import msgspec

from runstead.commands.worker_channels import HintType
from runstead.core.alerts.alert import AlertKind
from runstead.core.batches.batch import BatchStatus
from runstead.core.budgets.budget import OnReached, Period, ScopeKind as BudgetScopeKind
from runstead.core.conversations.conversation import ConversationStatus, ConversationType, Role as MessageRole
from runstead.core.conversations.form import FieldType
from runstead.core.conversations.input_request import InputStatus, ResponderType
from runstead.core.conversations.projection import MessageStatus
from runstead.core.identity.principal import Role
from runstead.core.queue.push_service import ScopeKind
from runstead.core.queue.worker import SessionStatus, WorkerStatus
from runstead.core.runs import run
from runstead.core.runs.event_match import Match
from runstead.core.schedules import schedule
from runstead.core.usage.report import By
from runstead.core.usage.usage import Capture
from runstead.core.webhooks.body import BodyFormat
from runstead.core.webhooks.webhook import DeliveryStatus
from runstead.http.conversations import ShownStatus
from runstead.http.create_bodies import Labels
from runstead.http.messages import PART
from runstead.http.push_services import PushServiceStatus
from runstead.http.run_view import RUN_ERROR, ProjectionStatus
from runstead.http.webhooks import WebhookEvent

Schema = dict[str, Any]

#: Tag → what one of its records is called in operationIds.
_RECORDS: Final = {
    "alerts": "alert",
    "artifacts": "artifact",
    "batches": "batch",
    "budgets": "budget",
    "bulk_jobs": "bulk_job",
    "conversations": "conversation",
    "input_requests": "input_request",
    "messages": "message",
    "push_services": "push_service",
    "runs": "run",
    "schedules": "schedule",
    "triggers": "trigger",
    "webhooks": "webhook",
    "workers": "worker",
}

#: `<tag>_<handler>` → operationId, where `operation_id` would derive another one.
_OPERATIONS: Final = {
    "events_append": "append_events",
    "events_page": "list_events",
    "events_stream": "stream_events",
    "events_summary": "get_event_summary",
    "events_one": "get_event",
    "events_event_types": "list_event_types",
    "events_child_token": "create_child_event_token",
    "events_access_token": "create_access_token",
    "events_conversation_token": "create_conversation_access_token",
    "events_publish": "publish_event",
    "events_append_in_conversation": "append_conversation_run_events",
    "events_page_in_conversation": "list_conversation_run_events",
    "events_stream_in_conversation": "stream_conversation_run_events",
    "runs_usage": "get_run_usage",
    "runs_send": "send_signal",
    "runs_signals": "list_signals",
    "runs_register": "register_compensation",
    "runs_compensations": "list_compensations",
    "runs_values": "list_values",
    "lists_page": "list_runs",
    "lists_page_of_project": "list_project_runs",
    "workers_channel": "follow_worker_channel",
    "workers_versions": "list_versions",
    "workers_targets": "list_targets",
    "workers_claim": "claim_runs",
    "workers_renew": "renew_lease",
    "workers_release": "release_run",
    "workers_put_session": "put_session",
    "families_children": "list_children",
    "families_tree": "get_tree",
    "families_attempts": "list_attempts",
    "conversations_get_run": "get_conversation_run",
    "conversations_children": "list_conversation_run_children",
    "conversations_snapshot": "get_conversation_run_snapshot",
    "input_requests_respond": "respond_to_input_request",
    "input_requests_secrets": "read_secrets",
    "webhooks_deliveries": "list_deliveries",
    "webhooks_redeliver": "redeliver",
    "alerts_history": "list_alert_firings",
    "budgets_of_run": "list_budgets_of_run",
    "concurrency_get": "get_concurrency_limits",
    "concurrency_put": "put_concurrency_limits",
    "concurrency_put_one": "put_concurrency_limit",
    "usage_page": "list_prices",
    "usage_put": "put_price",
    "usage_delete": "delete_price",
    "usage_usage": "get_project_usage",
    "schedules_upcoming": "list_upcoming_times",
    "schedules_sync": "sync_source_schedules",
    "notifications_notifications": "stream_notifications",
    "push_services_jwks": "get_jwks",
    "administration_create": "create_project",
    "administration_page": "list_projects",
    "administration_get": "get_project",
    "administration_get_quota": "get_quota",
    "administration_put_quota": "put_quota",
    "administration_change": "update_project",
    "administration_create_key": "create_api_key",
    "administration_keys": "list_api_keys",
    "administration_change_key": "change_api_key",
    "administration_revoke_key": "revoke_api_key",
    "administration_put_member": "put_member",
    "administration_members": "list_members",
    "administration_remove_member": "remove_member",
    "administration_entries": "list_audit_entries",
    "health_healthz": "get_health",
    "health_readyz": "get_readiness",
    "health_metrics": "get_metrics",
    "documentation_openapi": "get_openapi",
}

#: Enumerations that are used in several places, so that clients have one type for each.
_CHOICES: Final = {
    "RunKind": run.Kind,
    "OwnerKind": run.OwnerKind,
    "TerminalStatus": run.TerminalStatus,
    "WaitingReason": run.WaitingReason,
    "RuntimeTargetKind": run.RuntimeTargetKind,
    "TriggerKind": run.TriggerKind,
    "ConversationType": ConversationType,
    "SessionStatus": SessionStatus,
    "WorkerStatus": WorkerStatus,
    "Role": Role,
    "ProjectionStatus": ProjectionStatus,
    "ConversationStatus": ConversationStatus,
    "ConversationShownStatus": ShownStatus,
    "MessageRole": MessageRole,
    "MessageStatus": MessageStatus,
    "InputStatus": InputStatus,
    "ResponderType": ResponderType,
    "FieldType": FieldType,
    "ScheduleStatus": schedule.ScheduleStatus,
    "ScheduleTargetKind": schedule.ScheduleTargetKind,
    "ScheduleHealth": schedule.Health,
    "ConversationMode": schedule.ConversationMode,
    "ConcurrencyPolicy": schedule.ConcurrencyPolicy,
    "DefinitionSource": schedule.DefinitionSource,
    "WebhookEvent": WebhookEvent,
    "BodyFormat": BodyFormat,
    "AlertKind": AlertKind,
    "BudgetScopeKind": BudgetScopeKind,
    "BudgetPeriod": Period,
    "OnReached": OnReached,
    "DeliveryStatus": DeliveryStatus,
    "WorkerHint": HintType,
    "BatchStatus": BatchStatus,
    "UsageBy": By,
    "PushScopeKind": ScopeKind,
    "PushServiceStatus": PushServiceStatus,
    "UsageCaptureStatus": Capture,
}

_SHAPES: Final[dict[str, Schema]] = {
    **{name: {"enum": sorted(get_args(choices))} for name, choices in _CHOICES.items()},
    "JsonObject": {"type": "object"},
    "Labels": msgspec.json.schema(Labels),
    "EventMatch": msgspec.json.schema(Match),
    "RunError": RUN_ERROR,
    "MessagePart": PART,
}

_TYPES: Final = {str: "string", bool: "boolean", int: "integer"}

_ANNOTATIONS: Final = ("title", "description", "default", "examples")


def operation_id(tag: str, handler: str) -> str:
    """Return `list_webhooks` for the handler `page` of Webhooks, `update_webhook` for `change`, `test_webhook` for `test`."""
    noun = tag.lower().replace(" ", "_")
    name = f"{noun}_{handler}"
    if name in _OPERATIONS or noun not in _RECORDS:
        return _OPERATIONS.get(name, name)
    if handler == "page":
        return f"list_{noun}"
    return f"{'update' if handler == 'change' else handler}_{_RECORDS[noun]}"


def name_shapes(document: Schema) -> None:
    """Replace repeated schemas by references to named ones, and give every schema a type."""
    schemas: dict[str, Schema] = document["components"]["schemas"]
    found: dict[str, Schema] = {}
    for name, schema in schemas.items():
        _refer(schema, found, whole=True)
        for member, shape in schema.get("properties", {}).items():
            _name_options(
                name + "".join(part[:1].upper() + part[1:] for part in member.split("_")), shape, found
            )
    _refer(document["paths"], found)
    schemas |= found


def _refer(value: Any, found: dict[str, Schema], *, whole: bool = False) -> None:
    """Replace known schemas by references.

    `whole`: the value is a component, which is not replaced itself.
    """
    if isinstance(value, list):
        for item in value:
            _refer(item, found)
    if not isinstance(value, dict):
        return
    if value.get("type") == ["object", "null"]:
        _split_null(value)
    if value.get("type") == "array" and "items" not in value:
        value["items"] = {}
    if isinstance(value.get("enum"), list) and "type" not in value:
        shape = {"enum": value["enum"]}
        value["type"] = _TYPES[type(value["enum"][0])]
    else:
        shape = {name: part for name, part in value.items() if name not in _ANNOTATIONS}
    name = None if whole else next((name for name, known in _SHAPES.items() if known == shape), None)
    if name is None:
        for member, part in value.items():
            if member not in {"default", "examples", "enum"}:
                _refer(part, found)
        return
    found.setdefault(name, {"title": name, **({"type": "string"} if "enum" in shape else {}), **shape})
    for member in (*shape, "type"):
        value.pop(member, None)
    reference = f"#/components/schemas/{name}"
    if "default" in value:  # older readers ignore members next to `$ref`, so `allOf` holds it
        value["allOf"] = [{"$ref": reference}]
    else:
        value["$ref"] = reference


def _name_options(name: str, shape: Schema, found: dict[str, Schema]) -> None:
    """Name the alternatives and items of a member. Generators would call them `…Type0` and `…Item`."""
    for option in shape.get("anyOf", ()):
        _name_part(name, option, found)
    if "items" in shape:
        _name_part(name.removesuffix("s"), shape["items"], found)


def _name_part(name: str, part: Schema, found: dict[str, Schema]) -> None:
    if "enum" in part or "properties" in part:
        found[name] = {"title": name, **part}
        part.clear()
        part["$ref"] = f"#/components/schemas/{name}"


def _split_null(value: Schema) -> None:
    schema = {name: value.pop(name) for name in list(value) if name not in _ANNOTATIONS}
    value["anyOf"] = [{**schema, "type": "object"}, {"type": "null"}]
