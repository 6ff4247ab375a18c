"""The Python SDK: two clients, one that blocks and one that is awaited, and a worker. It speaks HTTP only.

with Client("http://127.0.0.1:8720", key, project="default") as client:
run = client.create_task_run("task:inventory", config={"path": "."}).run
for event in client.follow(run.run_id):
print(event.event_type, event.payload)
"""

from runstead.sdk.answer import FieldError, PageInfo
from runstead.sdk.app import App
from runstead.sdk.async_client import AsyncClient
from runstead.sdk.call import Call
from runstead.sdk.client import Client
from runstead.sdk.connection import Calls
from runstead.sdk.context import Context, LeaseLostError, RunFailed, ThreadContext
from runstead.sdk.conversation import Conversation, ConversationPage, Projection, ProjectionPage
from runstead.sdk.durable import Child
from runstead.sdk.errors import NoAnswerError, RunsteadError, UnexpectedAnswerError
from runstead.sdk.event import (
    Appended,
    ConversationAppended,
    ConversationEvent,
    ConversationEventPage,
    Event,
    EventMember,
    EventPage,
    EventSummary,
    EventType,
    EventTypeCount,
    EventTypeList,
    Snapshot,
    SnapshotEvent,
)
from runstead.sdk.fleet import Fleet
from runstead.sdk.handler import Handler
from runstead.sdk.input_request import InputRequest, InputRequestPage, InputResponse
from runstead.sdk.lease import (
    Claim,
    ClaimedRun,
    Heartbeat,
    Held,
    Lease,
    RegisteredWorker,
    Registration,
    Released,
    Session,
    SessionAnswer,
    WorkerPage,
)
from runstead.sdk.message import Message, MessagePage, TokenUsage
from runstead.sdk.notification import Notification
from runstead.sdk.places import Places
from runstead.sdk.project import (
    ApiKey,
    ApiKeyList,
    ConcurrencyLimit,
    ConcurrencyLimits,
    Health,
    Member,
    MemberList,
    Project,
    ProjectList,
    Role,
    Scope,
)
from runstead.sdk.push_service import PushService, PushServiceAnswer, PushServiceList, RunEventToken
from runstead.sdk.retries import Retries
from runstead.sdk.run import (
    Accepted,
    Attempt,
    AttemptList,
    Cancellation,
    Cancelled,
    Completed,
    CreatedRun,
    Deleted,
    Descendants,
    Kind,
    Owner,
    Run,
    RunError,
    RunList,
    RunPage,
    Status,
    TerminalStatus,
    Waiting,
)
from runstead.sdk.schedule import Schedule, ScheduleAnswer, ScheduleList, ScheduleRun, ScheduleTarget
from runstead.sdk.steps import ChildFailed, StepFailed, WaitTimeout
from runstead.sdk.usage import ModelUsage, Usage, UsageSum
from runstead.sdk.webhook import (
    CreatedTrigger,
    CreatedWebhook,
    Delivery,
    DeliveryAnswer,
    DeliveryPage,
    Trigger,
    TriggerAnswer,
    TriggerList,
    TriggerRun,
    Webhook,
    WebhookAnswer,
    WebhookList,
)
from runstead.sdk.worker import Worker

__all__ = [
    "Accepted",
    "ApiKey",
    "ApiKeyList",
    "App",
    "Appended",
    "AsyncClient",
    "Attempt",
    "AttemptList",
    "Call",
    "Calls",
    "Cancellation",
    "Cancelled",
    "Child",
    "ChildFailed",
    "Claim",
    "ClaimedRun",
    "Client",
    "Completed",
    "ConcurrencyLimit",
    "ConcurrencyLimits",
    "Context",
    "Conversation",
    "ConversationAppended",
    "ConversationEvent",
    "ConversationEventPage",
    "ConversationPage",
    "CreatedRun",
    "CreatedTrigger",
    "CreatedWebhook",
    "Deleted",
    "Delivery",
    "DeliveryAnswer",
    "DeliveryPage",
    "Descendants",
    "Event",
    "EventMember",
    "EventPage",
    "EventSummary",
    "EventType",
    "EventTypeCount",
    "EventTypeList",
    "FieldError",
    "Fleet",
    "Handler",
    "Health",
    "Heartbeat",
    "Held",
    "InputRequest",
    "InputRequestPage",
    "InputResponse",
    "Kind",
    "Lease",
    "LeaseLostError",
    "Member",
    "MemberList",
    "Message",
    "MessagePage",
    "ModelUsage",
    "NoAnswerError",
    "Notification",
    "Owner",
    "PageInfo",
    "Places",
    "Project",
    "ProjectList",
    "Projection",
    "ProjectionPage",
    "PushService",
    "PushServiceAnswer",
    "PushServiceList",
    "RegisteredWorker",
    "Registration",
    "Released",
    "Retries",
    "Role",
    "Run",
    "RunError",
    "RunEventToken",
    "RunFailed",
    "RunList",
    "RunPage",
    "RunsteadError",
    "Schedule",
    "ScheduleAnswer",
    "ScheduleList",
    "ScheduleRun",
    "ScheduleTarget",
    "Scope",
    "Session",
    "SessionAnswer",
    "Snapshot",
    "SnapshotEvent",
    "Status",
    "StepFailed",
    "TerminalStatus",
    "ThreadContext",
    "TokenUsage",
    "Trigger",
    "TriggerAnswer",
    "TriggerList",
    "TriggerRun",
    "UnexpectedAnswerError",
    "Usage",
    "UsageSum",
    "WaitTimeout",
    "Waiting",
    "Webhook",
    "WebhookAnswer",
    "WebhookList",
    "Worker",
    "WorkerPage",
]
