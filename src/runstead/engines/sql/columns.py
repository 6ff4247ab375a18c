"""The columns of records, for statements."""

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from runstead.core.alerts.alert import Alert, Firing
from runstead.core.audit import AuditEntry
from runstead.core.batches.batch import Batch
from runstead.core.batches.bulk_job import BulkJob
from runstead.core.budgets.budget import Budget, BudgetSum, RunSpending
from runstead.core.conversations.conversation import Conversation, StoredMessage
from runstead.core.conversations.input_request import InputRequest
from runstead.core.identity.browser_session import BrowserSession
from runstead.core.identity.project import ApiKey, Member, Project, RemovedMember
from runstead.core.identity.quota import Quota
from runstead.core.identity.signing_key import SigningKey
from runstead.core.leadership import Lead
from runstead.core.queue.push_service import PushService
from runstead.core.queue.target import TargetDefinition
from runstead.core.queue.worker import Session, Worker
from runstead.core.replica import Replica
from runstead.core.runs.bus_event import BusEvent, EventWait
from runstead.core.runs.saved_view import SavedView
from runstead.core.schedules.schedule import Schedule
from runstead.core.schedules.trigger import Trigger
from runstead.core.usage.price import Price
from runstead.core.usage.rollup import FACT_FIELDS
from runstead.core.webhooks.webhook import Delivery, Webhook
from runstead.engines.sql.inputs import RESPONSE


def _without(record: type[Struct], *names: str) -> tuple[str, ...]:
    return tuple(name for name in record.__struct_fields__ if name not in names)


#: The columns that `{name}` stands for in statements. Most tables have a column for each field of their record.
RECORDS: Final[dict[str, Sequence[str]]] = {
    "alert": _without(Alert),
    "alert_firing": _without(Firing),
    "audit_entry": _without(AuditEntry),
    "browser_session": _without(BrowserSession),
    "bulk_job": _without(BulkJob),
    "bus_event": _without(BusEvent),
    "budget": _without(Budget),
    "budget_sum": _without(BudgetSum),
    "conversation": _without(Conversation),
    "delivery": _without(Delivery),
    "delivery_without_payload": _without(Delivery, "payload"),
    "event_wait": _without(EventWait),
    "facts": FACT_FIELDS,
    "input_request": (*_without(InputRequest, "response"), *RESPONSE.values()),
    "key": _without(ApiKey),
    "lead": _without(Lead),
    "member": _without(Member),
    "message": _without(StoredMessage),
    "new_alert_firing": _without(Firing, "seq"),
    "new_audit_entry": _without(AuditEntry, "id", "seq"),
    "new_batch": _without(Batch, "seq"),
    "new_conversation": _without(Conversation, "seq"),
    "new_delivery": _without(Delivery, "seq"),
    "new_event_wait": _without(EventWait, "number"),
    "new_input_request": _without(InputRequest, "response", "seq", "ended_at"),
    "price": _without(Price),
    "project": _without(Project),
    "push_service": _without(PushService, "reach", "active"),
    "quota": _without(Quota),
    "removed_member": _without(RemovedMember),
    "replica": _without(Replica),
    "run_spending": _without(RunSpending),
    "saved_view": _without(SavedView),
    "schedule": _without(Schedule),
    "session": _without(Session),
    "signing_key": _without(SigningKey),
    "target_definition": _without(TargetDefinition),
    "trigger": _without(Trigger),
    "webhook": _without(Webhook),
    "worker": _without(Worker),
}

#: The words of statements of one engine.
WORDS: Final = {name: ", ".join(columns) for name, columns in RECORDS.items()}
