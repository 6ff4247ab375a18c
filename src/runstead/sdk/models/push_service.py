"""Push services."""

from datetime import datetime
from typing import Any, ClassVar

from runstead.sdk.models.response import Listing, ResponseModel


class PushService(ResponseModel, frozen=True, kw_only=True):
    """A registered push service. `status` is active, or disabled: by a client, or after too long without a heartbeat.

    `last_success_…` and `last_error…` describe the last calls that it accepted and did not.
    """

    id: str
    service_name: str
    service_key: str
    scope_kind: str
    status: str
    base_url: str
    invoke_url: str
    scope_key: str | None = None
    project_id: str | None = None
    agent_id: str | None = None
    capabilities: Any = None
    metadata: Any = None
    version: str | None = None
    runtime: str | None = None
    region: str | None = None
    last_heartbeat_at: datetime | None = None
    last_success_at: datetime | None = None
    last_success_run_id: str | None = None
    last_error_at: datetime | None = None
    last_error_run_id: str | None = None
    last_error: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None


class PushServiceAnswer(ResponseModel, frozen=True, kw_only=True):
    """The registered push service."""

    service: PushService


class PushServiceList(Listing[PushService], frozen=True, kw_only=True):
    """The push services that the caller can see."""


class RunEventToken(ResponseModel, frozen=True, kw_only=True):
    """A token that may write the events of one run. It is valid for a day."""

    SECRETS: ClassVar[frozenset[str]] = frozenset({"run_event_token"})

    run_event_token: str
