"""The resources of a client: one for each noun of the server."""

from functools import cached_property
from typing import Self

from runstead.sdk.models.value import Codec
from runstead.sdk.routes.alerts import Alerts
from runstead.sdk.routes.artifacts import Artifacts
from runstead.sdk.routes.audit import Audit
from runstead.sdk.routes.batches import Batches
from runstead.sdk.routes.budgets import Budgets
from runstead.sdk.routes.bulk_jobs import BulkJobs
from runstead.sdk.routes.conversations import Conversations
from runstead.sdk.routes.events import Events
from runstead.sdk.routes.inputs import InputRequests
from runstead.sdk.routes.messages import Messages
from runstead.sdk.routes.notifications import Notifications
from runstead.sdk.routes.prices import Prices
from runstead.sdk.routes.projects import ApiKeys, Limits, Members, Projects, Quotas, ServerHealth
from runstead.sdk.routes.push_services import PushServices
from runstead.sdk.routes.route import Caller, CallFactory
from runstead.sdk.routes.runs import Runs
from runstead.sdk.routes.schedules import Schedules
from runstead.sdk.routes.webhooks import Triggers, Webhooks
from runstead.sdk.routes.workers import Workers


class Resources(Caller):
    """All routes of the server, by noun. Each is made when it is first used."""

    runs: Runs[Self]
    """Runs: create, read, list, end, pause, change and delete them."""
    events: Events[Self]
    """The events of runs: append, read and follow them."""
    artifacts: Artifacts[Self]
    """The artifacts of runs: store and read their bytes."""
    input_requests: InputRequests[Self]
    """Forms that runs wait for."""
    conversations: Conversations[Self]
    """Conversations, and their runs."""
    messages: Messages[Self]
    """The messages of conversations."""
    batches: Batches[Self]
    """Runs that are created together."""
    bulk_jobs: BulkJobs[Self]
    """One action on all runs that match a filter."""
    schedules: Schedules[Self]
    """Schedules: recurring and one-time."""
    webhooks: Webhooks[Self]
    """Webhooks, and their deliveries."""
    triggers: Triggers[Self]
    """Triggers: URLs that start runs."""
    alerts: Alerts[Self]
    """Alert rules, and their history."""
    budgets: Budgets[Self]
    """Budgets: what runs may spend, and what happens when it is spent."""
    workers: Workers[Self]
    """Workers: register them, claim runs, renew leases."""
    push_services: PushServices[Self]
    """Services that get runs by HTTP."""
    projects: Projects[Self]
    """Projects, and reports of their usage."""
    api_keys: ApiKeys[Self]
    """The API keys of a project."""
    members: Members[Self]
    """The members of a project."""
    quotas: Quotas[Self]
    """The quotas of a project."""
    limits: Limits[Self]
    """The concurrency limits of a project."""
    prices: Prices[Self]
    """The prices of models."""
    audit: Audit[Self]
    """The audit log of a project."""
    notifications: Notifications[Self]
    """Notifications of the changes of a project."""
    health: ServerHealth[Self]
    """The health of the server."""


for _name, _kind in Resources.__annotations__.items():
    _resource: cached_property[object] = cached_property(_kind.__origin__)
    _resource.__set_name__(Resources, _name)
    setattr(Resources, _name, _resource)


class Calls(Resources, CallFactory):
    """The resources without a client. Each method returns a call, to be sent with `client.request(call)`.

    A call may be sent several times: its idempotency key stays the same.
    """

    def __init__(self, project: str | None = None, *, codec: Codec | None = None) -> None:
        self.project = project
        self.codec = codec
