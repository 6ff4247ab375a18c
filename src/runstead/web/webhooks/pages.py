"""Webhooks and their deliveries. The list also shows the project's triggers."""

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
from runstead.web.framework.pages import Pages
from runstead.web.framework.request import PageRequest, to

pages = Pages()

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


async def for_admins(request: PageRequest, project: Project) -> Response:
    return await request.page("webhooks/for_admins.html", project=project, status=403)


async def listing(
    request: PageRequest, project: Project, refused: Error | None = None, about: str = ""
) -> Response:
    """The list. `about` names the form that was sent; it keeps its fields and shows the error `refused`."""
    return await request.form_page(
        "webhooks/listing.html",
        refused,
        project=project,
        webhooks=await commands.page(request.app, request.principal, project.id),
        triggers=await triggers.with_short_config(request.app, request.principal, project.id),
        events=EVENTS,
        formats=get_args(BodyFormat),
        about=about,
    )


@pages.get("/projects/{project}/webhooks")
async def index(request: PageRequest) -> Response:
    project = await request.project()
    return await (listing if request.may("admin", project) else for_admins)(request, project)


@pages.post("/projects/{project}/webhooks")
async def create(request: PageRequest) -> Response:
    project, form = await request.project(), request.form
    here = to("projects", project.slug, "webhooks")
    try:
        body = body_of(
            CreateWebhook,
            FIELD_ERRORS,
            url=form.one("url"),
            events=form.all("events"),
            secret=form.one("secret"),
            format=form.one("format"),
        )
        secret = body.secret or commands.new_secret()
        made = await idempotent(
            request,
            lambda idempotency: commands.create(
                request.app,
                request.principal,
                project.id,
                body.url,
                body.events,
                secret,
                idempotency,
                body_format=body.format or "standard",
            ),
        )
    except Error as refused:
        if not request.may("admin", project):
            raise
        return await listing(request, project, refused, "webhook")
    if made is None:
        return already_created(request, "The webhook", here)
    return await show_secret(
        request,
        project,
        title="The webhook was created",
        label="Signing secret",
        secret=secret,
        note=SIGNING_NOTE,
        to=to("projects", project.slug, "webhooks", made.id),
    )


@pages.get("/projects/{project}/webhooks/{webhook_id}")
async def show(request: PageRequest) -> Response:
    project = await request.project()
    return await (_show if request.may("admin", project) else for_admins)(request, project)


async def _show(request: PageRequest, project: Project, refused: Error | None = None) -> Response:
    webhook = await commands.get(request.app, request.principal, project.id, request.path["webhook_id"])
    state, cursor = request.query.one("status"), request.query.seq("cursor")
    status = next((one for one in STATES if one == state), None)
    found = await commands.deliveries(
        request.app,
        request.principal,
        project.id,
        webhook.id,
        rows_shown + 1,
        cursor,
        status,
    )
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


def _page_address(request: PageRequest, project: Project) -> str:
    return to("projects", project.slug, "webhooks", request.path["webhook_id"])


@pages.post("/projects/{project}/webhooks/{webhook_id}")
async def change(request: PageRequest) -> Response:
    project, form = await request.project(), request.form
    try:
        body = body_of(
            UpdateWebhook, FIELD_ERRORS, url=form.required("url", "The URL"), events=form.all("events")
        )
        if body.events is None:
            raise Error("INVALID_REQUEST", FIELD_ERRORS["events"])
        await _change(request, project, url=body.url, events=body.events)
    except Error as refused:
        if refused.code != "INVALID_REQUEST":
            raise
        return await _show(request, project, refused)
    return request.redirect_with_flash("The webhook was changed.", _page_address(request, project))


async def _change(
    request: PageRequest,
    project: Project,
    *,
    url: str | None = None,
    events: list[WebhookEvent] | None = None,
    enabled: bool | None = None,
) -> None:
    await commands.change(
        request.app,
        request.principal,
        project.id,
        request.path["webhook_id"],
        url=url,
        events=events,
        enabled=enabled,
    )


@pages.post("/projects/{project}/webhooks/{webhook_id}/enable")
async def enable(request: PageRequest) -> Response:
    project = await request.project()
    await _change(request, project, enabled=True)
    flash = "The webhook was enabled. Pending deliveries continue."
    return request.redirect_with_flash(flash, _page_address(request, project))


@pages.post("/projects/{project}/webhooks/{webhook_id}/disable")
async def disable(request: PageRequest) -> Response:
    project = await request.project()
    await _change(request, project, enabled=False)
    flash = "The webhook was disabled. It sends nothing."
    return request.redirect_with_flash(flash, _page_address(request, project))


@pages.post("/projects/{project}/webhooks/{webhook_id}/delete")
async def delete(request: PageRequest) -> Response:
    project = await request.project()
    await commands.delete(request.app, request.principal, project.id, request.path["webhook_id"])
    return request.redirect_with_flash("The webhook was deleted.", to("projects", project.slug, "webhooks"))


@pages.post("/projects/{project}/webhooks/{webhook_id}/rotate")
async def rotate(request: PageRequest) -> Response:
    project, secret = await request.project(), commands.new_secret()
    made = await idempotent(
        request,
        lambda idempotency: commands.rotate(
            request.app, request.principal, project.id, request.path["webhook_id"], secret, idempotency
        ),
    )
    if made is None:
        return already_created(request, "The secret", _page_address(request, project))
    hours = limits.webhook_old_secret_ms // 3_600_000
    return await show_secret(
        request,
        project,
        title="The secret was rotated",
        label="New signing secret",
        secret=secret,
        note=f"Configure the receiver with it within {hours} hours: until then, deliveries are signed with the"
        " old secret too. It is shown only now.",
        to=_page_address(request, project),
    )


@pages.post("/projects/{project}/webhooks/{webhook_id}/test")
async def test(request: PageRequest) -> Response:
    project = await request.project()
    await commands.send_test(request.app, request.principal, project.id, request.path["webhook_id"])
    return request.redirect_with_flash(
        "A test delivery was queued: it is the first in the list.", _page_address(request, project)
    )


@pages.get("/projects/{project}/webhooks/{webhook_id}/deliveries/{delivery_id}")
async def delivery(request: PageRequest) -> Response:
    project = await request.project()
    if not request.may("admin", project):
        return await for_admins(request, project)
    path = request.path
    webhook, found = await commands.delivery(
        request.app, request.principal, project.id, path["webhook_id"], path["delivery_id"]
    )
    return await request.page("webhooks/delivery.html", project=project, webhook=webhook, one=found)


@pages.post("/projects/{project}/webhooks/{webhook_id}/deliveries/{delivery_id}/redeliver")
async def redeliver(request: PageRequest) -> Response:
    project, path = await request.project(), request.path
    _, again = await commands.redeliver(
        request.app, request.principal, project.id, path["webhook_id"], path["delivery_id"]
    )
    return request.redirect_with_flash(
        f"{again.event_type} was queued again.", _page_address(request, project)
    )
