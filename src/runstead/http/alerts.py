"""Alert rules: `/projects/{project}/alerts…`."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from runstead.commands import alerts as commands
from runstead.core import limits
from runstead.core.alerts.alert import Alert, AlertKind
from runstead.core.clock import now_ms
from runstead.http.answers import answer_of, page_of
from runstead.http.arguments import named, scoped, set_members
from runstead.http.bounds import between
from runstead.http.framework.endpoint import Call, Nothing, Reply, Routes
from runstead.http.framework.list_page import fitted, paged, position_by_seq
from runstead.http.framework.problems import CHANGE, LOOKUP
from runstead.http.framework.values import Moment, Name, PageLimit, Target, Uuid, moment_ms
from runstead.http.framework.views import Timestamp, view_of
from runstead.http.webhooks import DeliveryView, delivery_view
from runstead.ports.store import ListPage

routes = Routes("Alerts")

_ALERTS = "/projects/{project}/alerts"
_ALERT = _ALERTS + "/{alert_id}"

_Threshold = Annotated[
    float,
    Meta(
        gt=0,
        le=limits.integer_max,
        description="The rule fires from this value on: a rate up to 1, an age in seconds, or a number.",
    ),
]
_Window = Annotated[
    int, between(limits.alert_window_s_min, limits.alert_window_s_max, "The period that is measured.")
]
_Runs = Annotated[int, between(1, limits.integer_max, "A failure rate of fewer runs never fires.")]
_For = Annotated[int, between(0, 86_400, "How long the value must be over or under the threshold.")]
_Repeat = Annotated[int, between(0, 7 * 86_400, "While it fires, it sends again after this time. 0: never.")]


class CreateAlert(msgspec.Struct, frozen=True, kw_only=True):
    """An alert rule to create. Members that are left out have the defaults of the kind.

    `target` is for `failure_rate` and `pending_age`, `schedule_id` for `schedule_missed`. Without them, the rule
    measures the whole project. `webhook_id` names the webhook that receives the messages; without it, all that
    subscribe to `alert.fired` and `alert.resolved` do.
    """

    kind: AlertKind
    name: Name | None = None
    target: Target | None = None
    schedule_id: Uuid | None = None
    threshold: _Threshold | None = None
    window_seconds: _Window | None = None
    min_runs: _Runs | None = None
    for_seconds: _For | None = None
    repeat_seconds: _Repeat | None = None
    webhook_id: Uuid | None = None


class UpdateAlert(msgspec.Struct, frozen=True, kw_only=True):
    """Members that are left out are not changed; null does so only for `webhook_id`, which it removes.

    Disabling ends a firing without a message. Enabling starts over.
    """

    name: Name | None = None
    threshold: _Threshold | None = None
    window_seconds: _Window | None = None
    min_runs: _Runs | None = None
    for_seconds: _For | None = None
    repeat_seconds: _Repeat | None = None
    webhook_id: Uuid | msgspec.UnsetType | None = msgspec.UNSET
    enabled: bool | None = None


class MuteAlert(msgspec.Struct, frozen=True, kw_only=True):
    """Without `until`, the rule is muted until it is unmuted."""

    until: Moment | None = None


class AlertView(msgspec.Struct, frozen=True):
    """An alert rule with its state.

    `value` is what was measured at `evaluated_at`; null if there was nothing to measure. `firing_since` is set while
    it fires. A muted rule records its history, and sends nothing.
    """

    id: str
    project_id: str
    name: str
    kind: AlertKind
    target: str | None
    schedule_id: str | None
    threshold: float
    window_seconds: int
    min_runs: int
    for_seconds: int
    repeat_seconds: int
    webhook_id: str | None
    enabled: bool
    firing: bool
    firing_since: Timestamp | None
    value: float | None
    evaluated_at: Timestamp | None
    muted: bool
    muted_until: Timestamp | None
    created_by: str | None
    created_at: Timestamp
    updated_at: Timestamp


AlertAnswer = answer_of("AlertAnswer", alert=AlertView)
AlertList = answer_of("AlertList", data=list[AlertView])
AlertDeleted = answer_of("AlertDeleted", deleted=bool)


class AlertTested(msgspec.Struct, frozen=True):
    """The test deliveries, one for each receiver."""

    deliveries: list[DeliveryView]


class FiringView(msgspec.Struct, frozen=True):
    """An entry of the history: when a rule fired and resolved, with the values at both times.

    `muted`: no message was sent when it fired. `resolved_at` is null while it fires.
    """

    id: str
    alert_id: str
    fired_at: Timestamp
    value: float | None
    muted: bool
    resolved_at: Timestamp | None
    resolved_value: float | None


FiringPage = page_of("FiringPage", FiringView)


class FiringFilter(msgspec.Struct, frozen=True, kw_only=True):
    cursor: Annotated[str, Meta(min_length=1, max_length=32)] | None = None
    limit: PageLimit = limits.page_rows_default


def view(alert: Alert) -> AlertView:
    now = now_ms()
    muted = alert.muted(now)
    return view_of(
        AlertView,
        alert,
        enabled=alert.disabled_at is None,
        firing=alert.firing_since is not None,
        muted=muted,
        **({} if muted else {"muted_until": None}),
    )


def _answer(alert: Alert) -> Reply:
    return Reply(200, AlertAnswer(view(alert)))


def members(body: CreateAlert | UpdateAlert) -> dict[str, Any]:
    """Return the members of the record that the body sets."""
    removes_webhook = isinstance(body, UpdateAlert) and body.webhook_id is None
    return {
        name: value
        for name, value in set_members(body).items()
        if name not in ("enabled", "kind")
        and (value is not None or (name == "webhook_id" and removes_webhook))
    }


@routes.route(
    "POST",
    _ALERTS,
    body=CreateAlert,
    answer=AlertAnswer,
    status=201,
    errors=(*CHANGE, "ALERT_LIMIT_REACHED"),
    location="/projects/{alert.project_id}/alerts/{alert.id}",
)
async def create(call: Call[CreateAlert, Nothing]) -> Reply:
    """Create an alert rule. It is evaluated every 15 seconds."""
    body = call.body
    return await call.idempotent(
        lambda record: commands.create(*scoped(call), body.kind, members(body), record),
        lambda alert: Reply(201, AlertAnswer(view(alert))),
    )


@routes.route("GET", _ALERTS, answer=AlertList, errors=LOOKUP)
async def page(call: Call[Nothing, Nothing]) -> Reply:
    """List the project's alert rules with their state: those that fire first, then oldest first."""
    found = await commands.page(*scoped(call))
    return Reply(200, AlertList([view(alert) for alert in found]))


@routes.route("GET", _ALERT, answer=AlertView, errors=LOOKUP)
async def get(call: Call[Nothing, Nothing]) -> Reply:
    """Get an alert rule with its state."""
    return Reply(200, view(await commands.get(*named(call))))


@routes.route("PATCH", _ALERT, body=UpdateAlert, answer=AlertAnswer, errors=CHANGE)
async def change(call: Call[UpdateAlert, Nothing]) -> Reply:
    """Change an alert rule, enable or disable it."""
    body = call.body
    return await call.idempotent(
        lambda record: commands.change(*named(call), members(body), enabled=body.enabled, idempotency=record),
        _answer,
    )


@routes.route("DELETE", _ALERT, answer=AlertDeleted, errors=CHANGE)
async def delete(call: Call[Nothing, Nothing]) -> Reply:
    """Delete an alert rule with its history."""
    await commands.delete(*named(call))
    return Reply(200, AlertDeleted(deleted=True))


@routes.route("POST", _ALERT + "/mute", body=MuteAlert, answer=AlertAnswer, errors=CHANGE)
async def mute(call: Call[MuteAlert, Nothing]) -> Reply:
    """Send no messages of an alert rule, until a time or until it is unmuted."""
    until = moment_ms("until", call.body.until)
    return await call.idempotent(lambda record: commands.mute(*named(call), until, record), _answer)


@routes.route("DELETE", _ALERT + "/mute", answer=AlertAnswer, errors=CHANGE)
async def unmute(call: Call[Nothing, Nothing]) -> Reply:
    """Send messages of an alert rule again."""
    return _answer(await commands.unmute(*named(call)))


@routes.route(
    "POST", _ALERT + "/test", answer=AlertTested, status=202, errors=(*CHANGE, "ALERT_HAS_NO_WEBHOOK")
)
async def test(call: Call[Nothing, Nothing]) -> Reply:
    """Send an `alert.test` message to the receivers of an alert rule, also if it is muted."""
    return await call.idempotent(
        lambda record: commands.send_test(*named(call), record),
        lambda sent: Reply(202, AlertTested([delivery_view(delivery) for delivery in sent])),
    )


@routes.route("GET", _ALERT + "/history", query=FiringFilter, answer=FiringPage, errors=LOOKUP)
async def history(call: Call[Nothing, FiringFilter]) -> Reply:
    """List when an alert rule fired and resolved, newest first: at most 1,000 entries."""
    query = call.query
    found = await commands.history(*named(call), query.limit + 1, position_by_seq(query.cursor))
    shown = fitted(ListPage.of(found, query.limit), lambda firing: view_of(FiringView, firing))
    return Reply(200, paged(shown, query.cursor, lambda last: last.seq))
