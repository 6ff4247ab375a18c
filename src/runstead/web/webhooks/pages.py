"""Webhooks, and what was sent to them; the list shows the project's triggers too."""

import re
from typing import Any, Final, get_args

from starlette.responses import Response

from runstead.commands import triggers, webhooks as commands
from runstead.core import limits
from runstead.core.clock import now_ms
from runstead.core.errors import Error
from runstead.core.identity.project import Project
from runstead.core.webhooks.webhook import DeliveryStatus
from runstead.http.framework.problems import STATUS
from runstead.http.webhooks import CreateWebhook, UpdateWebhook, WebhookEvent
from runstead.web.framework.command_body import body_of
from runstead.web.framework.idempotent_form import made_before, once, once_field, reveal
from runstead.web.framework.pages import Pages
from runstead.web.framework.request import Visit, to

pages = Pages()

rows_shown: Final = 50
EVENTS: Final = tuple(name for name in get_args(WebhookEvent) if name != "*")
STATES: Final[tuple[DeliveryStatus, ...]] = get_args(DeliveryStatus)
TOLD: Final = {
    "events": "No event is chosen: choose at least one",
    "url": "The address is missing or longer than an address can be: write it as https://example.com/hook",
    "secret": "The secret must be whsec_ and the base64 of 24 to 64 random bytes; leave it out and one is made",
}
SIGNS: Final = "Every delivery is signed with it, as Standard Webhooks says. Give it to the receiver: it is shown only now."


async def for_admins(visit: Visit, project: Project) -> Response:
    return await visit.page("webhooks/for_admins.html", project=project, status=403)


async def listing(visit: Visit, project: Project, refused: Error | None = None, about: str = "") -> Response:
    """The list. `refused` is said at the form that was sent (`about`), which keeps what was filled in."""
    return await visit.page(
        "webhooks/listing.html",
        project=project,
        status=STATUS[refused.code] if refused else 200,
        webhooks=await commands.page(visit.app, visit.principal, project.id),
        triggers=await triggers.page(visit.app, visit.principal, project.id),
        events=EVENTS,
        refused=refused,
        about=about,
        filled=visit.form,
        once_field=once_field(),
    )


@pages.get("/projects/{project}/webhooks")
async def index(visit: Visit) -> Response:
    project = await visit.project()
    return await (listing if visit.may("admin", project) else for_admins)(visit, project)


@pages.post("/projects/{project}/webhooks")
async def create(visit: Visit) -> Response:
    project, form = await visit.project(), visit.form
    here = to("projects", project.slug, "webhooks")
    try:
        body = body_of(
            CreateWebhook, TOLD, url=form.one("url"), events=form.all("events"), secret=form.one("secret")
        )
        secret = body.secret or commands.new_secret()
        made = await once(
            visit,
            lambda idempotency: commands.create(
                visit.app, visit.principal, project.id, body.url, body.events, secret, idempotency
            ),
        )
    except Error as refused:
        if not visit.may("admin", project):
            raise
        return await listing(visit, project, refused, "webhook")
    if made is None:
        return made_before(visit, "The webhook", here)
    return await reveal(
        visit,
        project,
        title="The webhook is there",
        label="Its secret",
        secret=secret,
        note=SIGNS,
        to=to("projects", project.slug, "webhooks", made.id),
    )


@pages.get("/projects/{project}/webhooks/{webhook_id}")
async def show(visit: Visit) -> Response:
    project = await visit.project()
    return await (_show if visit.may("admin", project) else for_admins)(visit, project)


async def _show(visit: Visit, project: Project, refused: Error | None = None) -> Response:
    webhook = await commands.get(visit.app, visit.principal, project.id, visit.path["webhook_id"])
    state, cursor = visit.query.one("status"), visit.query.one("cursor")
    if cursor and not re.fullmatch("[1-9][0-9]{0,17}", cursor):
        raise Error("INVALID_REQUEST", "The cursor is none of this list's: begin at its first page")
    status = next((one for one in STATES if one == state), None)
    found = await commands.deliveries(
        visit.app,
        visit.principal,
        project.id,
        webhook.id,
        rows_shown + 1,
        int(cursor) if cursor else None,
        status,
    )
    rows = found[:rows_shown]
    place = ("projects", project.slug, "webhooks", webhook.id)
    following = to(*place, status=status, cursor=rows[-1].seq) if len(found) > rows_shown else None
    values: dict[str, Any] = {"webhook": webhook, "rows": rows, "following": following}
    values["chosen_state"] = status
    if visit.by_htmx:
        return visit.part("webhooks/deliveries.html", project=project, **values)
    return await visit.page(
        "webhooks/page.html",
        project=project,
        status=STATUS[refused.code] if refused else 200,
        address=to(*place, status=status, cursor=cursor),
        states=STATES,
        events=EVENTS,
        refused=refused,
        filled=visit.form,
        once_field=once_field(),
        now=now_ms(),
        **values,
    )


def _place(visit: Visit, project: Project) -> str:
    return to("projects", project.slug, "webhooks", visit.path["webhook_id"])


@pages.post("/projects/{project}/webhooks/{webhook_id}")
async def change(visit: Visit) -> Response:
    project, form = await visit.project(), visit.form
    try:
        body = body_of(
            UpdateWebhook, TOLD, url=form.required("url", "The address"), events=form.all("events")
        )
        if body.events is None:
            raise Error("INVALID_REQUEST", TOLD["events"])
        await _change(visit, project, url=body.url, events=body.events)
    except Error as refused:
        if refused.code != "INVALID_REQUEST":
            raise
        return await _show(visit, project, refused)
    return visit.back("The webhook is changed.", _place(visit, project))


async def _change(
    visit: Visit,
    project: Project,
    *,
    url: str | None = None,
    events: list[WebhookEvent] | None = None,
    enabled: bool | None = None,
) -> None:
    await commands.change(
        visit.app,
        visit.principal,
        project.id,
        visit.path["webhook_id"],
        url=url,
        events=events,
        enabled=enabled,
    )


@pages.post("/projects/{project}/webhooks/{webhook_id}/enable")
async def enable(visit: Visit) -> Response:
    project = await visit.project()
    await _change(visit, project, enabled=True)
    return visit.back("The webhook is enabled: what is pending goes on.", _place(visit, project))


@pages.post("/projects/{project}/webhooks/{webhook_id}/disable")
async def disable(visit: Visit) -> Response:
    project = await visit.project()
    await _change(visit, project, enabled=False)
    return visit.back("The webhook is disabled: it sends nothing.", _place(visit, project))


@pages.post("/projects/{project}/webhooks/{webhook_id}/delete")
async def delete(visit: Visit) -> Response:
    project = await visit.project()
    await commands.delete(visit.app, visit.principal, project.id, visit.path["webhook_id"])
    return visit.back("The webhook is deleted.", to("projects", project.slug, "webhooks"))


@pages.post("/projects/{project}/webhooks/{webhook_id}/rotate")
async def rotate(visit: Visit) -> Response:
    project, secret = await visit.project(), commands.new_secret()
    made = await once(
        visit,
        lambda idempotency: commands.rotate(
            visit.app, visit.principal, project.id, visit.path["webhook_id"], secret, idempotency
        ),
    )
    if made is None:
        return made_before(visit, "The new secret", _place(visit, project))
    hours = limits.webhook_old_secret_ms // 3_600_000
    return await reveal(
        visit,
        project,
        title="The webhook has a new secret",
        label="Its new secret",
        secret=secret,
        note=f"Give it to the receiver within {hours} hours: as long is what is sent signed with the old one too. It is shown"
        " only now.",
        to=_place(visit, project),
    )


@pages.post("/projects/{project}/webhooks/{webhook_id}/test")
async def test(visit: Visit) -> Response:
    project = await visit.project()
    await commands.send_test(visit.app, visit.principal, project.id, visit.path["webhook_id"])
    return visit.back("A test is on its way: see the first of the deliveries.", _place(visit, project))


@pages.get("/projects/{project}/webhooks/{webhook_id}/deliveries/{delivery_id}")
async def delivery(visit: Visit) -> Response:
    project = await visit.project()
    if not visit.may("admin", project):
        return await for_admins(visit, project)
    path = visit.path
    webhook, found = await commands.delivery(
        visit.app, visit.principal, project.id, path["webhook_id"], path["delivery_id"]
    )
    return await visit.page("webhooks/delivery.html", project=project, webhook=webhook, one=found)


@pages.post("/projects/{project}/webhooks/{webhook_id}/deliveries/{delivery_id}/redeliver")
async def redeliver(visit: Visit) -> Response:
    project, path = await visit.project(), visit.path
    _, again = await commands.redeliver(
        visit.app, visit.principal, project.id, path["webhook_id"], path["delivery_id"]
    )
    return visit.back(f"{again.event_type} is on its way once more.", _place(visit, project))
