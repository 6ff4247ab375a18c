"""Alert rules, and their history."""

from datetime import datetime

from runstead.sdk.models.response import Page, ResponseModel
from runstead.sdk.models.webhook import Delivery


class Alert(ResponseModel, frozen=True, kw_only=True):
    """An alert rule with its state.

    `value` is what was measured at `evaluated_at`, None if there was nothing to measure. `firing_since` is set while
    it fires. A muted rule records its history, and sends nothing.
    """

    id: str
    project_id: str
    name: str
    kind: str
    threshold: float
    target: str | None = None
    schedule_id: str | None = None
    window_seconds: int = 0
    min_runs: int = 0
    for_seconds: int = 0
    repeat_seconds: int = 0
    webhook_id: str | None = None
    enabled: bool = True
    firing: bool = False
    firing_since: datetime | None = None
    value: float | None = None
    evaluated_at: datetime | None = None
    muted: bool = False
    muted_until: datetime | None = None
    created_by: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None


class AlertAnswer(ResponseModel, frozen=True, kw_only=True):
    """The stored rule."""

    alert: Alert


class AlertList(ResponseModel, frozen=True, kw_only=True):
    """The alert rules of a project."""

    data: list[Alert]


class AlertTested(ResponseModel, frozen=True, kw_only=True):
    """The test deliveries of a rule, one for each receiver."""

    deliveries: list[Delivery]


class AlertFiring(ResponseModel, frozen=True, kw_only=True):
    """When a rule fired and resolved, with the values at both times. `muted`: no message was sent when it fired."""

    id: str
    alert_id: str
    fired_at: datetime
    value: float | None = None
    muted: bool = False
    resolved_at: datetime | None = None
    resolved_value: float | None = None


class AlertFiringPage(Page[AlertFiring], frozen=True, kw_only=True):
    """One page of the history of a rule, newest first."""
