"""`runstead webhooks …`."""

from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from runstead.cli.answers import say, tell
from runstead.cli.app import AsJson
from runstead.cli.connection import UNSAID, Reach, connected

if TYPE_CHECKING:
    from runstead.sdk import Delivery, Webhook

WebhookId = Annotated[str, Parameter(help="The webhook's id")]

webhooks = App(name="webhooks", help="Who is told of what happens.")


@webhooks.command(name="list")
def list_webhooks(*, reach: Reach = UNSAID, json: AsJson = False) -> None:
    """List a project's webhooks, oldest first."""
    from runstead.cli.listing import print_list  # noqa: PLC0415
    from runstead.cli.render import Column, when  # noqa: PLC0415

    with connected(reach, project=True) as client:
        found = client.list_webhooks().data
    columns: list[Column[Webhook]] = [
        Column("WEBHOOK", lambda one: one.id, whole=True),
        Column("STATUS", lambda one: "active" if one.enabled else "disabled", status=True),
        Column("URL", lambda one: one.url),
        Column("EVENTS", lambda one: ",".join(one.events), leaves=1),
        Column("FAILING SINCE", lambda one: when(one.failing_since), leaves=2, whole=True),
        Column("REASON", lambda one: one.disabled_reason or "", leaves=3),
    ]
    print_list(found, columns, "webhooks", json=json)


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
    from runstead.cli.render import document  # noqa: PLC0415

    with connected(reach, project=True) as client:
        made = client.create_webhook(url, event or ("*",))
    if json:
        say(document(made))
        return
    say(made.webhook.id)
    if made.secret is not None:
        say(made.secret)
        tell("runstead: the second line is the secret that verifies what arrives; it is shown only now")


@webhooks.command(name="delete")
def delete_webhook(webhook_id: WebhookId, /, *, reach: Reach = UNSAID, json: AsJson = False) -> None:
    """Delete a webhook, with its deliveries."""
    from runstead.cli.render import document, safe  # noqa: PLC0415

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
    from runstead.cli.listing import print_list  # noqa: PLC0415
    from runstead.cli.render import Column, Screen, age  # noqa: PLC0415

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
    from runstead.cli.render import document, safe  # noqa: PLC0415

    with connected(reach, project=True) as client:
        delivery = client.redeliver(webhook_id, delivery_id).delivery
    say(document(delivery) if json else f"{safe(delivery.id)}  {delivery.status}")
