"""Webhooks and their deliveries. The list also shows the project's triggers."""

from functools import partial
from typing import Any, Final, get_args

from starlette.responses import Response

from runstead.commands import triggers, webhooks as commands
from runstead.core import limits
from runstead.core.clock import now_ms
from runstead.core.errors import Error
from runstead.core.identity.project import Project
from runstead.core.webhooks.body import BodyFormat
from runstead.core.webhooks.webhook import DeliveryStatus
from runstead.http.webhooks import CreateWebhook, UpdateWebhook, WebhookEvent
from runstead.web.framework.command_body import body_of
from runstead.web.framework.idempotent_form import already_created, idempotent, show_secret
from runstead.web.framework.pages import Pages, if_invalid, to_admins
from runstead.web.framework.request import PageRequest, at, to

pages = Pages()

_WEBHOOKS: Final = "/projects/{project}/webhooks"
_WEBHOOK: Final = _WEBHOOKS + "/{webhook_id}"
_FOR_ADMINS: Final = "webhooks/for_admins.html"
rows_shown: Final = 50
EVENTS: Final = tuple(name for name in get_args(WebhookEvent) if name != "*")
STATES: Final[tuple[DeliveryStatus, ...]] = get_args(DeliveryStatus)
FIELD_ERRORS: Final = {
    "events": "No event is chosen: choose at least one",
    "url": "The URL is missing or too long: write it as https://example.com/hook",
    "secret": "The secret must be whsec_ and the base64 of 24 to 64 random bytes. Leave it empty to generate one",
}
SIGNING_NOTE: Final = (
    "Deliveries are signed with it, as Standard Webhooks specifies. Configure the receiver with it: it is shown only"
    " now."
)


@pages.show(_WEBHOOKS, to_others=_FOR_ADMINS)
async def listing(
    request: PageRequest, project: Project, refused: Error | None = None, about: str = ""
) -> Response:
    """The list. `about` names the form that was sent; it keeps its fields and shows the error `refused`."""
    return await request.form_page(
        "webhooks/listing.html",
        refused,
        project=project,
        webhooks=await commands.page(*request.caller, project.id),
        triggers=await triggers.with_short_config(*request.caller, project.id),
        events=EVENTS,
        formats=get_args(BodyFormat),
        about=about,
    )


@pages.change(_WEBHOOKS, to=_WEBHOOKS, refused=to_admins(partial(listing, about="webhook")))
async def create(request: PageRequest, project: Project) -> Response:
    form = request.form
    body = body_of(
        CreateWebhook,
        FIELD_ERRORS,
        events=form.all("events"),
        **{name: form.one(name) for name in ("url", "secret", "format")},
    )
    secret, body_format = body.secret or commands.new_secret(), body.format or "standard"
    made = await idempotent(
        request,
        lambda record: commands.create(
            *request.caller, project.id, body.url, body.events, secret, record, body_format=body_format
        ),
    )
    if made is None:
        return already_created(request, "The webhook", at(_WEBHOOKS, request, project))
    return await show_secret(
        request,
        project,
        title="The webhook was created",
        label="Signing secret",
        secret=secret,
        note=SIGNING_NOTE,
        to=to("projects", project.slug, "webhooks", made.id),
    )


@pages.show(_WEBHOOK, to_others=_FOR_ADMINS)
async def show(request: PageRequest, project: Project, refused: Error | None = None) -> Response:
    webhook = await commands.get(*request.named(project))
    state, cursor = request.query.one("status"), request.query.seq("cursor")
    status = next((one for one in STATES if one == state), None)
    found = await commands.deliveries(*request.caller, project.id, webhook.id, rows_shown + 1, cursor, status)
    rows = found[:rows_shown]
    place = ("projects", project.slug, "webhooks", webhook.id)
    following = to(*place, status=status, cursor=rows[-1].seq) if len(found) > rows_shown else None
    values: dict[str, Any] = {"webhook": webhook, "rows": rows, "following": following}
    values["chosen_state"] = status
    if request.by_htmx:
        return request.part("webhooks/deliveries.html", project=project, **values)
    return await request.form_page(
        "webhooks/page.html",
        refused,
        project=project,
        address=to(*place, status=status, cursor=cursor),
        states=STATES,
        events=EVENTS,
        now=now_ms(),
        **values,
    )


@pages.change(_WEBHOOK, to=_WEBHOOK, refused=if_invalid(show))
async def change(request: PageRequest, project: Project) -> str:
    url, events = request.form.required("url", "The URL"), request.form.all("events")
    body = body_of(UpdateWebhook, FIELD_ERRORS, url=url, events=events)
    if body.events is None:
        raise Error("INVALID_REQUEST", FIELD_ERRORS["events"])
    await commands.change(*request.named(project), url=body.url, events=body.events)
    return "The webhook was changed."


@pages.change(_WEBHOOK + "/enable", to=_WEBHOOK)
async def enable(request: PageRequest, project: Project) -> str:
    await commands.change(*request.named(project), enabled=True)
    return "The webhook was enabled. Pending deliveries continue."


@pages.change(_WEBHOOK + "/disable", to=_WEBHOOK)
async def disable(request: PageRequest, project: Project) -> str:
    await commands.change(*request.named(project), enabled=False)
    return "The webhook was disabled. It sends nothing."


@pages.change(_WEBHOOK + "/delete", to=_WEBHOOKS)
async def delete(request: PageRequest, project: Project) -> str:
    await commands.delete(*request.named(project))
    return "The webhook was deleted."


@pages.change(_WEBHOOK + "/rotate", to=_WEBHOOK)
async def rotate(request: PageRequest, project: Project) -> Response:
    webhook_id, secret = request.path["webhook_id"], commands.new_secret()
    here = at(_WEBHOOK, request, project)
    made = await idempotent(
        request, lambda record: commands.rotate(*request.caller, project.id, webhook_id, secret, record)
    )
    if made is None:
        return already_created(request, "The secret", here)
    hours = limits.webhook_old_secret_ms // 3_600_000
    return await show_secret(
        request,
        project,
        title="The secret was rotated",
        label="New signing secret",
        secret=secret,
        note=f"Configure the receiver with it within {hours} hours: until then, deliveries are signed with the"
        " old secret too. It is shown only now.",
        to=here,
    )


@pages.change(_WEBHOOK + "/test", to=_WEBHOOK)
async def test(request: PageRequest, project: Project) -> str:
    await commands.send_test(*request.named(project))
    return "A test delivery was queued: it is the first in the list."


@pages.show(_WEBHOOK + "/deliveries/{delivery_id}", to_others=_FOR_ADMINS)
async def delivery(request: PageRequest, project: Project) -> Response:
    path = request.path
    webhook, found = await commands.delivery(
        *request.caller, project.id, path["webhook_id"], path["delivery_id"]
    )
    return await request.page("webhooks/delivery.html", project=project, webhook=webhook, one=found)


@pages.change(_WEBHOOK + "/deliveries/{delivery_id}/redeliver", to=_WEBHOOK)
async def redeliver(request: PageRequest, project: Project) -> str:
    path = request.path
    _, again = await commands.redeliver(*request.caller, project.id, path["webhook_id"], path["delivery_id"])
    return f"{again.event_type} was queued again."
