"""Routes of alert rules. All of them need the scope `admin`."""

from datetime import datetime
from types import NoneType
from typing import Literal

from runstead.sdk.models.alert import (
    Alert,
    AlertAnswer,
    AlertFiring,
    AlertFiringPage,
    AlertList,
    AlertTested,
)
from runstead.sdk.routes.call import Call, idempotent, members, query
from runstead.sdk.routes.route import Resource, S_co, every, route

AlertKind = Literal["failure_rate", "pending_age", "schedule_missed", "worker_silent", "delivery_failed"]


class Alerts(Resource[S_co]):
    """404 for a rule that is unknown or not visible to the caller."""

    @route
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
        """`POST /projects/{ref}/alerts`: create a rule. It fires while the measured value is at least `threshold`.

        `target` is for failure_rate and pending_age, `schedule_id` for schedule_missed. `webhook_id` receives the
        messages; without it, all webhooks that subscribe to `alert.fired` and `alert.resolved` do. 400 with `errors`
        for invalid values, 409 ALERT_LIMIT_REACHED.
        """
        body = members(
            kind=kind,
            name=name,
            target=target,
            schedule_id=schedule_id,
            threshold=threshold,
            window_seconds=window_seconds,
            min_runs=min_runs,
            for_seconds=for_seconds,
            repeat_seconds=repeat_seconds,
            webhook_id=webhook_id,
        )
        return idempotent(
            "POST", self._in_project(project, "alerts"), AlertAnswer, body=body, key=idempotency_key
        )

    @route
    def list(self, *, project: str | None = None) -> Call[AlertList]:
        """`GET /projects/{ref}/alerts`: all of them with their state, those that fire first."""
        return Call("GET", self._in_project(project, "alerts"), AlertList)

    @route
    def get(self, alert_id: str, *, project: str | None = None) -> Call[Alert]:
        """`GET /projects/{ref}/alerts/{id}`"""
        return Call("GET", self._in_project(project, "alerts", alert_id), Alert)

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

    @route
    def delete(self, alert_id: str, *, project: str | None = None) -> Call[None]:
        """`DELETE /projects/{ref}/alerts/{id}`: delete the rule and its history."""
        return Call("DELETE", self._in_project(project, "alerts", alert_id), NoneType)

    @route
    def mute(
        self, alert_id: str, *, until: datetime | None = None, project: str | None = None
    ) -> Call[AlertAnswer]:
        """`POST /projects/{ref}/alerts/{id}/mute`: send nothing until a time, or until it is unmuted."""
        where, body = self._in_project(project, "alerts", alert_id, "mute"), members(until=until)
        return idempotent("POST", where, AlertAnswer, body=body)

    @route
    def unmute(self, alert_id: str, *, project: str | None = None) -> Call[AlertAnswer]:
        """`DELETE /projects/{ref}/alerts/{id}/mute`: send messages again."""
        return Call("DELETE", self._in_project(project, "alerts", alert_id, "mute"), AlertAnswer)

    @route
    def test(self, alert_id: str, *, project: str | None = None) -> Call[AlertTested]:
        """`POST /projects/{ref}/alerts/{id}/test`: send its receivers an `alert.test`. 409 ALERT_HAS_NO_WEBHOOK."""
        return idempotent("POST", self._in_project(project, "alerts", alert_id, "test"), AlertTested)

    @route
    def list_history(
        self,
        alert_id: str,
        *,
        cursor: str | None = None,
        limit: int | None = None,
        project: str | None = None,
    ) -> Call[AlertFiringPage]:
        """`GET /projects/{ref}/alerts/{id}/history`: newest first; `page_info.next` is the next page's cursor."""
        parameters = query(cursor=cursor, limit=limit)
        return Call(
            "GET", self._in_project(project, "alerts", alert_id, "history"), AlertFiringPage, parameters
        )

    iter_history = every(list_history, AlertFiring)
