"""`runstead webhooks …`."""

from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from runstead.cli.app import AsJson
from runstead.cli.shared.connection import UNSAID, Reach, connected
from runstead.cli.shared.output import refuse, say, tell

if TYPE_CHECKING:
    from runstead.sdk import CreatedWebhook, Delivery, Webhook

WebhookId = Annotated[str, Parameter(help="The webhook's id")]
USAGE = 2

webhooks = App(name="webhooks", help="Who is told of what happens.")


@webhooks.command(name="list")
def list_webhooks(*, reach: Reach = UNSAID, json: AsJson = False) -> None:
    """List a project's webhooks, oldest first."""
    from runstead.cli.shared.render import Column, when  # noqa: PLC0415
    from runstead.cli.shared.run_tables import print_list  # noqa: PLC0415

    with connected(reach, project=True) as client:
        found = client.list_webhooks().data
    columns: list[Column[Webhook]] = [
        Column("WEBHOOK", lambda one: one.id, whole=True),
        Column("STATUS", _status, status=True),
        Column("URL", lambda one: one.url),
        Column("EVENTS", lambda one: ",".join(one.events), leaves=1),
        Column("FAILING SINCE", lambda one: when(one.failing_since), leaves=2, whole=True),
        Column("REASON", lambda one: one.disabled_reason or "", leaves=3),
    ]
    print_list(found, columns, "webhooks", json=json)


def _status(one: "Webhook") -> str:
    return "active" if one.enabled else "disabled"


@webhooks.command(name="create")
def create_webhook(
    url: Annotated[str, Parameter(help="Where to send what happens")],
    /,
    *,
    event: Annotated[
        list[str] | None, Parameter(help="Like run.completed; may repeat. Else all", negative="")
    ] = None,
    reach: Reach = UNSAID,
    json: AsJson = False,
) -> None:
    """Tell an address of what happens from now on. The secret that verifies it is shown once."""
    with connected(reach, project=True) as client:
        made = client.create_webhook(url, event or ("*",))
    _show_new(made, json=json)


def _show_new(made: "CreatedWebhook", *, json: bool) -> None:
    from runstead.cli.shared.render import document  # noqa: PLC0415

    if json:
        say(document(made))
        return
    say(made.webhook.id)
    if made.secret is not None:
        say(made.secret)
        tell("runstead: the second line is the secret that verifies what arrives; it is shown only now")


@webhooks.command(name="update")
def update_webhook(
    webhook_id: WebhookId,
    /,
    *,
    to: Annotated[str | None, Parameter(help="Where to send what happens, and what is pending")] = None,
    event: Annotated[
        list[str] | None,
        Parameter(help="In place of those so far: like run.completed; may repeat", negative=""),
    ] = None,
    enabled: Annotated[
        bool | None,
        Parameter(name="--enable", negative="--disable", help="Whether it is told of anything"),
    ] = None,
    reach: Reach = UNSAID,
    json: AsJson = False,
) -> None:
    """Change where a webhook goes or what it asks for; enable or disable it."""
    from runstead.cli.shared.render import document, safe  # noqa: PLC0415

    if to is None and not event and enabled is None:
        refuse("say what to change: --to, --event, --enable or --disable", USAGE)
    with connected(reach, project=True) as client:
        one = client.update_webhook(webhook_id, url=to, events=event, enabled=enabled).webhook
    say(document(one) if json else f"{safe(one.id)}  {_status(one)}  {safe(one.url)}  {','.join(one.events)}")


@webhooks.command(name="rotate")
def rotate_webhook(
    webhook_id: WebhookId,
    /,
    *,
    secret: Annotated[
        str | None,
        Parameter(allow_leading_hyphen=True, help="Else one is made; better in @file or - for stdin"),
    ] = None,
    reach: Reach = UNSAID,
    json: AsJson = False,
) -> None:
    """Give a webhook another secret, shown once. For 24 hours what it sends is signed with the old one too."""
    from runstead.cli.shared.parsing import contents  # noqa: PLC0415

    given = None if secret is None else contents(secret).strip()
    with connected(reach, project=True) as client:
        made = client.rotate_webhook(webhook_id, secret=given)
    _show_new(made, json=json)


@webhooks.command(name="test")
def send_test(webhook_id: WebhookId, /, *, reach: Reach = UNSAID, json: AsJson = False) -> None:
    """Send a webhook something to try it with, and print the delivery's id: the deliveries tell what became of it."""
    from runstead.cli.shared.render import document, safe  # noqa: PLC0415

    with connected(reach, project=True) as client:
        delivery = client.test_webhook(webhook_id).delivery
    say(document(delivery) if json else f"{safe(delivery.id)}  {delivery.status}")


@webhooks.command(name="delete")
def delete_webhook(webhook_id: WebhookId, /, *, reach: Reach = UNSAID, json: AsJson = False) -> None:
    """Delete a webhook, with its deliveries."""
    from runstead.cli.shared.render import document, safe  # noqa: PLC0415

    with connected(reach, project=True) as client:
        client.delete_webhook(webhook_id)
    say(document({"deleted": True, "id": webhook_id}) if json else f"{safe(webhook_id)}  deleted")


@webhooks.command(name="deliveries")
def deliveries(
    webhook_id: WebhookId,
    /,
    *,
    status: Annotated[Literal["pending", "delivered", "failed"] | None, Parameter(help="Only these")] = None,
    limit: Annotated[int, Parameter(help="How many at most, up to 100")] = 50,
    reach: Reach = UNSAID,
    json: AsJson = False,
) -> None:
    """List what a webhook was sent, newest first."""
    from runstead.cli.shared.render import Column, Screen, age  # noqa: PLC0415
    from runstead.cli.shared.run_tables import print_list  # noqa: PLC0415

    with connected(reach, project=True) as client:
        found = client.list_deliveries(webhook_id, status=status, limit=limit).data
    screen = Screen.of()
    columns: list[Column[Delivery]] = [
        Column("DELIVERY", lambda one: one.id, whole=True),
        Column("STATUS", lambda one: one.status, status=True),
        Column("EVENT", lambda one: one.event_type, leaves=1),
        Column("TRIES", lambda one: str(one.attempts), leaves=2, number=True),
        Column("ANSWER", lambda one: str(one.last_status_code or ""), leaves=4, number=True),
        Column("CREATED", lambda one: age(one.created_at, screen), leaves=3, whole=True),
        Column("NEXT", lambda one: age(one.next_attempt_at, screen), leaves=5, whole=True),
        Column("RUN", lambda one: one.run_id or "", leaves=6),
        Column("ERROR", lambda one: one.last_error or "", leaves=7),
    ]
    print_list(found, columns, "deliveries", json=json)


@webhooks.command(name="redeliver")
def redeliver(
    webhook_id: WebhookId,
    delivery_id: Annotated[str, Parameter(help="The delivery's id")],
    /,
    *,
    reach: Reach = UNSAID,
    json: AsJson = False,
) -> None:
    """Send a delivery once more, under the same id."""
    from runstead.cli.shared.render import document, safe  # noqa: PLC0415

    with connected(reach, project=True) as client:
        delivery = client.redeliver(webhook_id, delivery_id).delivery
    say(document(delivery) if json else f"{safe(delivery.id)}  {delivery.status}")
