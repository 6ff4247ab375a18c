"""`runstead alerts …`."""

from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from runstead.cli.shared.command import Client, Output, command, listed, one_line
from runstead.cli.shared.parsing import parse_seconds, parse_time
from runstead.cli.shared.render import Column, age_column, format_time, safe, time_column

if TYPE_CHECKING:
    from runstead.sdk.models.alert import Alert, AlertFiring

AlertId = Annotated[str, Parameter(help="The alert rule's id")]
Kind = Literal["failure_rate", "pending_age", "schedule_missed", "worker_silent", "delivery_failed"]

alerts = App(name="alerts", help="Alert rules and their history.")


@command(alerts, "list", project=True)
def list_alerts(client: Client) -> Output:
    """List a project's alert rules with their state: those that fire first."""
    found = client.alerts.list().data
    columns: list[Column[Alert]] = [
        Column("ALERT", lambda one: one.id, keep_whole=True),
        Column("STATUS", _status, status=True),
        Column("NAME", lambda one: one.name),
        Column("KIND", lambda one: one.kind, drop_rank=1),
        Column("VALUE", lambda one: _number(one.value), drop_rank=2, number=True),
        Column("THRESHOLD", lambda one: _number(one.threshold), drop_rank=3, number=True),
        age_column("SINCE", lambda one: one.firing_since, drop_rank=4),
        Column("MUTED", _muted, drop_rank=5),
    ]
    return listed(found, columns, "alerts")


def _status(one: "Alert") -> str:
    if not one.enabled:
        return "disabled"
    return "firing" if one.firing else "ok"


def _muted(one: "Alert") -> str:
    if not one.muted:
        return ""
    return "for ever" if one.muted_until is None else f"until {format_time(one.muted_until)}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


@command(alerts, "create", project=True)
def create_alert(
    client: Client,
    kind: Annotated[Kind, "What the rule watches"],
    /,
    *,
    name: Annotated[str | None, "Else the kind and the target"] = None,
    target: Annotated[
        str | None, "Of failure_rate and pending_age, such as task:report. Else all runs"
    ] = None,
    schedule: Annotated[str | None, "Id, of schedule_missed. Else all schedules"] = None,
    threshold: Annotated[
        float | None, "It fires from this value on: a rate up to 1, seconds, or a number"
    ] = None,
    window: Annotated[str | None, "The period that is measured, such as 1h"] = None,
    min_runs: Annotated[int | None, "A failure rate of fewer runs never fires"] = None,
    hold: Annotated[
        str | None,
        Parameter(name="--for", help="How long the value must be beyond the threshold, such as 5m"),
    ] = None,
    repeat: Annotated[str | None, "Send again after this time while it fires"] = None,
    webhook: Annotated[str | None, "Id of the receiver. Else all webhooks that subscribe to alerts"] = None,
) -> Output:
    """Create an alert rule and print its id."""

    def seconds(option: str, text: str | None) -> int | None:
        return None if text is None else parse_seconds(option, text)

    made = client.alerts.create(
        kind,
        name=name,
        target=target,
        schedule_id=schedule,
        threshold=threshold,
        window_seconds=seconds("--window", window),
        min_runs=min_runs,
        for_seconds=seconds("--for", hold),
        repeat_seconds=seconds("--repeat", repeat),
        webhook_id=webhook,
    ).alert
    return one_line(made, made.id)


def _described(one: "Alert") -> Output:
    muted = f"  muted {_muted(one)}" if one.muted else ""
    return one_line(one, f"{one.id}  {_status(one)}  {one.name}{muted}")


@command(alerts, "mute", project=True)
def mute_alert(
    client: Client,
    alert_id: AlertId,
    /,
    *,
    until: Annotated[str | None, "A time, or how long, such as 2h. Else until it is unmuted"] = None,
) -> Output:
    """Send no messages of an alert rule. Its history goes on."""
    end = parse_time("--until", until, ahead=True)
    return _described(client.alerts.mute(alert_id, until=end).alert)


@command(alerts, "unmute", project=True)
def unmute_alert(client: Client, alert_id: AlertId, /) -> Output:
    """Send messages of an alert rule again."""
    return _described(client.alerts.unmute(alert_id).alert)


@command(alerts, "history", project=True)
def history(
    client: Client,
    alert_id: AlertId,
    /,
    *,
    limit: Annotated[int, "Number of entries, at most 100"] = 50,
) -> Output:
    """List when an alert rule fired and resolved, newest first."""
    found = client.alerts.list_history(alert_id, limit=limit).data
    columns: list[Column[AlertFiring]] = [
        time_column("FIRED", lambda one: one.fired_at),
        Column("VALUE", lambda one: _number(one.value), number=True),
        time_column("RESOLVED", lambda one: one.resolved_at),
        Column("VALUE THEN", lambda one: _number(one.resolved_value), drop_rank=1, number=True),
        Column("SENT", lambda one: "muted" if one.muted else "sent", drop_rank=2),
    ]
    return listed(found, columns, "firings")


@command(alerts, "test", project=True)
def send_test(client: Client, alert_id: AlertId, /) -> Output:
    """Queue a test message to each receiver. `webhooks deliveries` shows the outcome."""
    sent = client.alerts.test(alert_id)
    lines = [f"{safe(one.id)}  {one.status}  to webhook {safe(one.webhook_id)}" for one in sent.deliveries]
    return Output(sent, "\n".join(lines))


@command(alerts, "delete", project=True)
def delete_alert(client: Client, alert_id: AlertId, /) -> Output:
    """Delete an alert rule and its history."""
    client.alerts.delete(alert_id)
    return one_line({"deleted": True, "id": alert_id}, f"{alert_id}  deleted")
