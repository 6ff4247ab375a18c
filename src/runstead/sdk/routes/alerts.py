"""Routes of alert rules. All of them need the scope `admin`."""

from datetime import datetime
from typing import Literal

from runstead.sdk.models.alert import Alert, AlertAnswer, AlertFiring, AlertFiringPage, AlertList, AlertTested
from runstead.sdk.routes.call import Call, idempotent, members
from runstead.sdk.routes.endpoint import endpoint
from runstead.sdk.routes.route import Resource, S_co, every, route

AlertKind = Literal["failure_rate", "pending_age", "schedule_missed", "worker_silent", "delivery_failed"]


class Alerts(Resource[S_co]):
    """404 for a rule that is unknown or not visible to the caller."""

    @endpoint("POST", "/projects/{ref}/alerts", key="new")
    def create(
        self,
        kind: AlertKind,
        *,
        name: str | None = None,
        target: str | None = None,
        schedule_id: str | None = None,
        threshold: float | None = None,
        window_seconds: int | None = None,
        min_runs: int | None = None,
        for_seconds: int | None = None,
        repeat_seconds: int | None = None,
        webhook_id: str | None = None,
        project: str | None = None,
        idempotency_key: str | None = None,
    ) -> Call[AlertAnswer]:
        """Create a rule. It fires while the measured value is at least `threshold`.

        `target` is for failure_rate and pending_age, `schedule_id` for schedule_missed. `webhook_id` receives the
        messages; without it, all webhooks that subscribe to `alert.fired` and `alert.resolved` do. 400 with `errors`
        for invalid values, 409 ALERT_LIMIT_REACHED.
        """

    @endpoint("GET", "/projects/{ref}/alerts")
    def list(self, *, project: str | None = None) -> Call[AlertList]:
        """All of them with their state, those that fire first."""

    @endpoint("GET", "/projects/{ref}/alerts/{alert_id}")
    def get(self, alert_id: str, *, project: str | None = None) -> Call[Alert]: ...

    @route
    def update(
        self,
        alert_id: str,
        *,
        name: str | None = None,
        threshold: float | None = None,
        window_seconds: int | None = None,
        min_runs: int | None = None,
        for_seconds: int | None = None,
        repeat_seconds: int | None = None,
        webhook_id: str | None = None,
        any_webhook: bool = False,
        enabled: bool | None = None,
        project: str | None = None,
    ) -> Call[AlertAnswer]:
        """`PATCH /projects/{ref}/alerts/{id}`: change the members that are given.

        `threshold` is a rate up to 1, an age in seconds, or a number. `any_webhook` removes its webhook.
        """
        body = members(
            name=name,
            threshold=threshold,
            window_seconds=window_seconds,
            min_runs=min_runs,
            for_seconds=for_seconds,
            repeat_seconds=repeat_seconds,
            webhook_id=webhook_id,
            enabled=enabled,
        )
        if any_webhook:
            body["webhook_id"] = None
        return idempotent("PATCH", self._in_project(project, "alerts", alert_id), AlertAnswer, body=body)

    @endpoint("DELETE", "/projects/{ref}/alerts/{alert_id}")
    def delete(self, alert_id: str, *, project: str | None = None) -> Call[None]:
        """Delete the rule and its history."""

    @endpoint("POST", "/projects/{ref}/alerts/{alert_id}/mute", key="new")
    def mute(
        self, alert_id: str, *, until: datetime | None = None, project: str | None = None
    ) -> Call[AlertAnswer]:
        """Send nothing until a time, or until it is unmuted."""

    @endpoint("DELETE", "/projects/{ref}/alerts/{alert_id}/mute")
    def unmute(self, alert_id: str, *, project: str | None = None) -> Call[AlertAnswer]:
        """Send messages again."""

    @endpoint("POST", "/projects/{ref}/alerts/{alert_id}/test", key="new")
    def test(self, alert_id: str, *, project: str | None = None) -> Call[AlertTested]:
        """Send its receivers an `alert.test`. 409 ALERT_HAS_NO_WEBHOOK."""

    @endpoint("GET", "/projects/{ref}/alerts/{alert_id}/history")
    def list_history(
        self,
        alert_id: str,
        *,
        cursor: str | None = None,
        limit: int | None = None,
        project: str | None = None,
    ) -> Call[AlertFiringPage]:
        """Newest first; `page_info.next` is the next page's cursor."""

    iter_history = every(list_history, AlertFiring)
