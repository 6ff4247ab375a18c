"""Triggers: URLs that start runs. The page of webhooks lists them."""

from typing import Any, Final

from starlette.responses import Response

from runstead.commands import triggers as commands
from runstead.core.errors import Error
from runstead.core.identity.project import Project
from runstead.core.schedules.trigger import new_token
from runstead.http.triggers import CreateTrigger, new_trigger
from runstead.web.framework.command_body import body_of, json_object_of
from runstead.web.framework.form import Fields
from runstead.web.framework.idempotent_form import already_created, idempotent, show_secret
from runstead.web.framework.pages import Pages
from runstead.web.framework.request import PageRequest, to
from runstead.web.webhooks.pages import listing

pages = Pages()

FIELD_ERRORS: Final = {
    "target": "The target must be task:<id>, workflow:<id>, eval:<id> or agent:<id>",
    "conversation_id": "The conversation id is not valid. Leave it empty for a new conversation per run",
    "event.match": "A match has at most 8 dotted paths, each with a value of at most 255 bytes",
    "event": "The name of an event has 1 to 128 characters, without control characters",
    "secret": "The signing secret must have 16 to 255 characters and no control characters",
}


def _list_address(project: Project) -> str:
    return to("projects", project.slug, "webhooks") + "#triggers"


def _event_in(form: Fields) -> dict[str, Any] | None:
    """The event in the fields of the form. INVALID_REQUEST."""
    name, match = form.one("event"), json_object_of(form.one("match"), "The match")
    if not name and match is None:
        return None
    return {"name": name, "match": match}


async def _show_token(request: PageRequest, project: Project, title: str, token: str) -> Response:
    return await show_secret(
        request,
        project,
        title=title,
        label="Trigger URL (POST)",
        secret=f"{request.origin}/triggers/{token}",
        note="A caller that knows the URL can start the run. It is shown only now. The server keeps only a hash of it.",
        to=_list_address(project),
    )


@pages.post("/projects/{project}/triggers")
async def create(request: PageRequest) -> Response:
    project, form, token = await request.project(), request.form, new_token()
    try:
        body = body_of(
            CreateTrigger,
            FIELD_ERRORS,
            target=form.one("target"),
            name=form.one("name"),
            config=json_object_of(form.one("config"), "The configuration"),
            secret=form.one("signed_with"),
            conversation_id=form.one("conversation_id"),
            event=_event_in(form),
        )
        new = new_trigger(body, token)
        made = await idempotent(
            request,
            lambda idempotency: commands.create(request.app, request.principal, project.id, new, idempotency),
        )
    except Error as refused:
        if not request.may("admin", project):
            raise
        return await listing(request, project, refused, "trigger")
    if made is None:
        return already_created(request, "The trigger", _list_address(project))
    return await _show_token(request, project, f"The trigger {made.name} was created", token)


@pages.post("/projects/{project}/triggers/{trigger_id}/rotate")
async def rotate(request: PageRequest) -> Response:
    project, token = await request.project(), new_token()
    made = await idempotent(
        request,
        lambda idempotency: commands.change(
            request.app,
            request.principal,
            project.id,
            request.path["trigger_id"],
            token=token,
            idempotency=idempotency,
        ),
    )
    if made is None:
        return already_created(request, "The URL", _list_address(project))
    return await _show_token(request, project, f"The trigger {made.name} has a new URL", token)


async def _enable(request: PageRequest, *, enabled: bool) -> Response:
    project = await request.project()
    found = await commands.change(
        request.app, request.principal, project.id, request.path["trigger_id"], enabled=enabled
    )
    flash = f"The trigger {found.name} was {'enabled' if enabled else 'disabled'}."
    return request.redirect_with_flash(flash, _list_address(project))


@pages.post("/projects/{project}/triggers/{trigger_id}/enable")
async def enable(request: PageRequest) -> Response:
    return await _enable(request, enabled=True)


@pages.post("/projects/{project}/triggers/{trigger_id}/disable")
async def disable(request: PageRequest) -> Response:
    return await _enable(request, enabled=False)


@pages.post("/projects/{project}/triggers/{trigger_id}/delete")
async def delete(request: PageRequest) -> Response:
    project = await request.project()
    await commands.delete(request.app, request.principal, project.id, request.path["trigger_id"])
    return request.redirect_with_flash(
        "The trigger was deleted. The runs that it started are kept.", _list_address(project)
    )
