"""`runstead webhooks …`."""

from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from runstead.cli.shared.command import Client, Output, command, listed, one_line, with_secret
from runstead.cli.shared.exit_codes import USAGE
from runstead.cli.shared.output import fail
from runstead.cli.shared.parsing import read_text
from runstead.cli.shared.render import Column, age_column, time_column

if TYPE_CHECKING:
    from runstead.sdk.models.webhook import CreatedWebhook, Delivery, Webhook

WebhookId = Annotated[str, Parameter(help="The webhook's id")]

webhooks = App(name="webhooks", help="Webhooks and their deliveries.")


@command(webhooks, "list", project=True)
def list_webhooks(client: Client) -> Output:
    """List a project's webhooks, oldest first."""
    found = client.webhooks.list().data
    columns: list[Column[Webhook]] = [
        Column("WEBHOOK", lambda one: one.id, keep_whole=True),
        Column("STATUS", _status, status=True),
        Column("URL", lambda one: one.url),
        Column("EVENTS", lambda one: ",".join(one.events), drop_rank=1),
        time_column("FAILING SINCE", lambda one: one.failing_since, drop_rank=2),
        Column("REASON", lambda one: one.disabled_reason or "", drop_rank=3),
    ]
    return listed(found, columns, "webhooks")


def _status(one: "Webhook") -> str:
    return "active" if one.enabled else "disabled"


@command(webhooks, "create", project=True)
def create_webhook(
    client: Client,
    url: Annotated[str, "URL that receives the events"],
    /,
    *,
    event: Annotated[list[str] | None, "Such as run.completed; may repeat. Else all events"] = None,
    format: Annotated[  # noqa: A002 - the option's name
        Literal["standard", "slack", "cloudevents"], "The form of the bodies"
    ] = "standard",
) -> Output:
    """Send new events to a URL. The secret that verifies them is shown only once."""
    made = client.webhooks.create(url, event or ("*",), format=format)
    return _new(made)


def _new(made: "CreatedWebhook") -> Output:
    return with_secret(made, made.webhook.id, made.secret, "the secret that verifies deliveries")


@command(webhooks, "update", project=True)
def update_webhook(
    client: Client,
    webhook_id: WebhookId,
    /,
    *,
    to: Annotated[str | None, "New URL, also for pending deliveries"] = None,
    event: Annotated[list[str] | None, "Replaces the event types: such as run.completed; may repeat"] = None,
    enabled: Annotated[
        bool | None, Parameter(name="--enable", negative="--disable", help="Whether events are sent")
    ] = None,
) -> Output:
    """Change the URL or the event types of a webhook; enable or disable it."""
    if to is None and not event and enabled is None:
        fail("name what to change: --to, --event, --enable or --disable", USAGE)
    one = client.webhooks.update(webhook_id, url=to, events=event, enabled=enabled).webhook
    return one_line(one, f"{one.id}  {_status(one)}  {one.url}  {','.join(one.events)}")


@command(webhooks, "rotate", project=True)
def rotate_webhook(
    client: Client,
    webhook_id: WebhookId,
    /,
    *,
    secret: Annotated[
        str | None,
        Parameter(
            allow_leading_hyphen=True, help="The new secret; else generated. Better in @file or - for stdin"
        ),
    ] = None,
) -> Output:
    """Give a webhook a new secret, shown only once. For 24 hours, deliveries are signed with both secrets."""
    new_secret = None if secret is None else read_text(secret).strip()
    made = client.webhooks.rotate(webhook_id, secret=new_secret)
    return _new(made)


@command(webhooks, "test", project=True)
def send_test(client: Client, webhook_id: WebhookId, /) -> Output:
    """Queue a test delivery and print its id. `webhooks deliveries` shows the outcome."""
    delivery = client.webhooks.test(webhook_id).delivery
    return one_line(delivery, f"{delivery.id}  {delivery.status}")


@command(webhooks, "delete", project=True)
def delete_webhook(client: Client, webhook_id: WebhookId, /) -> Output:
    """Delete a webhook and its deliveries."""
    client.webhooks.delete(webhook_id)
    return one_line({"deleted": True, "id": webhook_id}, f"{webhook_id}  deleted")


@command(webhooks, "deliveries", project=True)
def deliveries(
    client: Client,
    webhook_id: WebhookId,
    /,
    *,
    status: Annotated[
        Literal["pending", "delivered", "failed"] | None, "Only deliveries with this status"
    ] = None,
    limit: Annotated[int, "Number of deliveries, at most 100"] = 50,
) -> Output:
    """List the deliveries of a webhook, newest first."""
    found = client.webhooks.list_deliveries(webhook_id, status=status, limit=limit).data
    columns: list[Column[Delivery]] = [
        Column("DELIVERY", lambda one: one.id, keep_whole=True),
        Column("STATUS", lambda one: one.status, status=True),
        Column("EVENT", lambda one: one.event_type, drop_rank=1),
        Column("ATTEMPTS", lambda one: str(one.attempts), drop_rank=2, number=True),
        Column("RESPONSE", lambda one: str(one.last_status_code or ""), drop_rank=4, number=True),
        age_column("CREATED", lambda one: one.created_at, drop_rank=3),
        age_column("NEXT", lambda one: one.next_attempt_at, drop_rank=5),
        Column("RUN", lambda one: one.run_id or "", drop_rank=6),
        Column("ERROR", lambda one: one.last_error or "", drop_rank=7),
    ]
    return listed(found, columns, "deliveries")


@command(webhooks, "redeliver", project=True)
def redeliver(
    client: Client,
    webhook_id: WebhookId,
    delivery_id: Annotated[str, "The delivery's id"],
    /,
) -> Output:
    """Send a delivery again, with the same id."""
    delivery = client.webhooks.redeliver(webhook_id, delivery_id).delivery
    return one_line(delivery, f"{delivery.id}  {delivery.status}")
