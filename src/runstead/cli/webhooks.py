"""`runstead webhooks …`."""

from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from runstead.cli.shared.connection import NO_OPTIONS, ServerOptions, connected
from runstead.cli.shared.exit_codes import USAGE
from runstead.cli.shared.options import AsJson
from runstead.cli.shared.output import fail
from runstead.cli.shared.parsing import read_text
from runstead.cli.shared.render import Column, Screen, format_age, format_time
from runstead.cli.shared.results import print_list, print_result, print_secret

if TYPE_CHECKING:
    from runstead.sdk.models.webhook import CreatedWebhook, Delivery, Webhook

WebhookId = Annotated[str, Parameter(help="The webhook's id")]

webhooks = App(name="webhooks", help="Webhooks and their deliveries.")


@webhooks.command(name="list")
def list_webhooks(*, server: ServerOptions = NO_OPTIONS, json: AsJson = False) -> None:
    """List a project's webhooks, oldest first."""
    with connected(server, project=True) as client:
        found = client.webhooks.list().data
    columns: list[Column[Webhook]] = [
        Column("WEBHOOK", lambda one: one.id, keep_whole=True),
        Column("STATUS", _status, status=True),
        Column("URL", lambda one: one.url),
        Column("EVENTS", lambda one: ",".join(one.events), drop_rank=1),
        Column("FAILING SINCE", lambda one: format_time(one.failing_since), drop_rank=2, keep_whole=True),
        Column("REASON", lambda one: one.disabled_reason or "", drop_rank=3),
    ]
    print_list(found, columns, "webhooks", json=json)


def _status(one: "Webhook") -> str:
    return "active" if one.enabled else "disabled"


@webhooks.command(name="create")
def create_webhook(
    url: Annotated[str, Parameter(help="URL that receives the events")],
    /,
    *,
    event: Annotated[
        list[str] | None, Parameter(help="Such as run.completed; may repeat. Else all events", negative="")
    ] = None,
    format: Annotated[  # noqa: A002 - the option's name
        Literal["standard", "slack", "cloudevents"], Parameter(help="The form of the bodies")
    ] = "standard",
    server: ServerOptions = NO_OPTIONS,
    json: AsJson = False,
) -> None:
    """Send new events to a URL. The secret that verifies them is shown only once."""
    with connected(server, project=True) as client:
        made = client.webhooks.create(url, event or ("*",), format=format)
    _show_new(made, json=json)


def _show_new(made: "CreatedWebhook", *, json: bool) -> None:
    print_secret(made, made.webhook.id, made.secret, "the secret that verifies deliveries", json=json)


@webhooks.command(name="update")
def update_webhook(
    webhook_id: WebhookId,
    /,
    *,
    to: Annotated[str | None, Parameter(help="New URL, also for pending deliveries")] = None,
    event: Annotated[
        list[str] | None,
        Parameter(help="Replaces the event types: such as run.completed; may repeat", negative=""),
    ] = None,
    enabled: Annotated[
        bool | None,
        Parameter(name="--enable", negative="--disable", help="Whether events are sent"),
    ] = None,
    server: ServerOptions = NO_OPTIONS,
    json: AsJson = False,
) -> None:
    """Change the URL or the event types of a webhook; enable or disable it."""
    if to is None and not event and enabled is None:
        fail("name what to change: --to, --event, --enable or --disable", USAGE)
    with connected(server, project=True) as client:
        one = client.webhooks.update(webhook_id, url=to, events=event, enabled=enabled).webhook
    print_result(one, f"{one.id}  {_status(one)}  {one.url}  {','.join(one.events)}", json=json)


@webhooks.command(name="rotate")
def rotate_webhook(
    webhook_id: WebhookId,
    /,
    *,
    secret: Annotated[
        str | None,
        Parameter(
            allow_leading_hyphen=True, help="The new secret; else generated. Better in @file or - for stdin"
        ),
    ] = None,
    server: ServerOptions = NO_OPTIONS,
    json: AsJson = False,
) -> None:
    """Give a webhook a new secret, shown only once. For 24 hours, deliveries are signed with both secrets."""
    new_secret = None if secret is None else read_text(secret).strip()
    with connected(server, project=True) as client:
        made = client.webhooks.rotate(webhook_id, secret=new_secret)
    _show_new(made, json=json)


@webhooks.command(name="test")
def send_test(webhook_id: WebhookId, /, *, server: ServerOptions = NO_OPTIONS, json: AsJson = False) -> None:
    """Queue a test delivery and print its id. `webhooks deliveries` shows the outcome."""
    with connected(server, project=True) as client:
        delivery = client.webhooks.test(webhook_id).delivery
    print_result(delivery, f"{delivery.id}  {delivery.status}", json=json)


@webhooks.command(name="delete")
def delete_webhook(
    webhook_id: WebhookId, /, *, server: ServerOptions = NO_OPTIONS, json: AsJson = False
) -> None:
    """Delete a webhook and its deliveries."""
    with connected(server, project=True) as client:
        client.webhooks.delete(webhook_id)
    print_result({"deleted": True, "id": webhook_id}, f"{webhook_id}  deleted", json=json)


@webhooks.command(name="deliveries")
def deliveries(
    webhook_id: WebhookId,
    /,
    *,
    status: Annotated[
        Literal["pending", "delivered", "failed"] | None, Parameter(help="Only deliveries with this status")
    ] = None,
    limit: Annotated[int, Parameter(help="Number of deliveries, at most 100")] = 50,
    server: ServerOptions = NO_OPTIONS,
    json: AsJson = False,
) -> None:
    """List the deliveries of a webhook, newest first."""
    with connected(server, project=True) as client:
        found = client.webhooks.list_deliveries(webhook_id, status=status, limit=limit).data
    screen = Screen.of()
    columns: list[Column[Delivery]] = [
        Column("DELIVERY", lambda one: one.id, keep_whole=True),
        Column("STATUS", lambda one: one.status, status=True),
        Column("EVENT", lambda one: one.event_type, drop_rank=1),
        Column("ATTEMPTS", lambda one: str(one.attempts), drop_rank=2, number=True),
        Column("RESPONSE", lambda one: str(one.last_status_code or ""), drop_rank=4, number=True),
        Column("CREATED", lambda one: format_age(one.created_at, screen), drop_rank=3, keep_whole=True),
        Column("NEXT", lambda one: format_age(one.next_attempt_at, screen), drop_rank=5, keep_whole=True),
        Column("RUN", lambda one: one.run_id or "", drop_rank=6),
        Column("ERROR", lambda one: one.last_error or "", drop_rank=7),
    ]
    print_list(found, columns, "deliveries", json=json)


@webhooks.command(name="redeliver")
def redeliver(
    webhook_id: WebhookId,
    delivery_id: Annotated[str, Parameter(help="The delivery's id")],
    /,
    *,
    server: ServerOptions = NO_OPTIONS,
    json: AsJson = False,
) -> None:
    """Send a delivery again, with the same id."""
    with connected(server, project=True) as client:
        delivery = client.webhooks.redeliver(webhook_id, delivery_id).delivery
    print_result(delivery, f"{delivery.id}  {delivery.status}", json=json)
