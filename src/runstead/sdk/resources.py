"""The resources of a client: one for each noun of the server, made when it is first used."""

from typing import TYPE_CHECKING, Self

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

if TYPE_CHECKING:
    # Type checkers know `Self` in a property, and not in a cached one.
    from builtins import property as resource
else:
    from functools import cached_property as resource


class Resources(Caller):
    """All routes of the server, by noun."""

    @resource
    def runs(self) -> Runs[Self]:
        """Runs: create, read, list, end, pause, change and delete them."""
        return Runs(self)

    @resource
    def events(self) -> Events[Self]:
        """The events of runs: append, read and follow them."""
        return Events(self)

    @resource
    def artifacts(self) -> Artifacts[Self]:
        """The artifacts of runs: store and read their bytes."""
        return Artifacts(self)

    @resource
    def input_requests(self) -> InputRequests[Self]:
        """Forms that runs wait for."""
        return InputRequests(self)

    @resource
    def conversations(self) -> Conversations[Self]:
        """Conversations, and their runs."""
        return Conversations(self)

    @resource
    def messages(self) -> Messages[Self]:
        """The messages of conversations."""
        return Messages(self)

    @resource
    def batches(self) -> Batches[Self]:
        """Runs that are created together."""
        return Batches(self)

    @resource
    def bulk_jobs(self) -> BulkJobs[Self]:
        """One action on all runs that match a filter."""
        return BulkJobs(self)

    @resource
    def schedules(self) -> Schedules[Self]:
        """Schedules: recurring and one-time."""
        return Schedules(self)

    @resource
    def webhooks(self) -> Webhooks[Self]:
        """Webhooks, and their deliveries."""
        return Webhooks(self)

    @resource
    def triggers(self) -> Triggers[Self]:
        """Triggers: URLs that start runs."""
        return Triggers(self)

    @resource
    def alerts(self) -> Alerts[Self]:
        """Alert rules, and their history."""
        return Alerts(self)

    @resource
    def budgets(self) -> Budgets[Self]:
        """Budgets: what runs may spend, and what happens when it is spent."""
        return Budgets(self)

    @resource
    def workers(self) -> Workers[Self]:
        """Workers: register them, claim runs, renew leases."""
        return Workers(self)

    @resource
    def push_services(self) -> PushServices[Self]:
        """Services that get runs by HTTP."""
        return PushServices(self)

    @resource
    def projects(self) -> Projects[Self]:
        """Projects, and reports of their usage."""
        return Projects(self)

    @resource
    def api_keys(self) -> ApiKeys[Self]:
        """The API keys of a project."""
        return ApiKeys(self)

    @resource
    def members(self) -> Members[Self]:
        """The members of a project."""
        return Members(self)

    @resource
    def quotas(self) -> Quotas[Self]:
        """The quotas of a project."""
        return Quotas(self)

    @resource
    def limits(self) -> Limits[Self]:
        """The concurrency limits of a project."""
        return Limits(self)

    @resource
    def prices(self) -> Prices[Self]:
        """The prices of models."""
        return Prices(self)

    @resource
    def audit(self) -> Audit[Self]:
        """The audit log of a project."""
        return Audit(self)

    @resource
    def notifications(self) -> Notifications[Self]:
        """Notifications of the changes of a project."""
        return Notifications(self)

    @resource
    def health(self) -> ServerHealth[Self]:
        """The health of the server."""
        return ServerHealth(self)


class Calls(Resources, CallFactory):
    """The resources without a client. Each method returns a call, to be sent with `client.request(call)`.

    A call may be sent several times: its idempotency key stays the same.
    """

    def __init__(self, project: str | None = None, *, codec: Codec | None = None) -> None:
        self.project = project
        self.codec = codec
