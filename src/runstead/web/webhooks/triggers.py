"""Triggers: URLs that start runs. The page of webhooks lists them."""

from functools import partial
from typing import Any, Final

from starlette.responses import Response

from runstead.commands import triggers as commands
from runstead.core.identity.project import Project
from runstead.core.schedules.trigger import new_token
from runstead.http.triggers import CreateTrigger, new_trigger
from runstead.web.framework.command_body import body_of, json_object_of
from runstead.web.framework.form import Fields
from runstead.web.framework.idempotent_form import already_created, idempotent, show_secret
from runstead.web.framework.pages import Pages, to_admins
from runstead.web.framework.request import PageRequest, at
from runstead.web.webhooks.pages import listing

pages = Pages()

_LIST: Final = "/projects/{project}/webhooks#triggers"
_TRIGGER: Final = "/projects/{project}/triggers/{trigger_id}"
FIELD_ERRORS: Final = {
    "target": "The target must be task:<id>, workflow:<id>, eval:<id> or agent:<id>",
    "conversation_id": "The conversation id is not valid. Leave it empty for a new conversation per run",
    "event.match": "A match has at most 8 dotted paths, each with a value of at most 255 bytes",
    "event": "The name of an event has 1 to 128 characters, without control characters",
    "secret": "The signing secret must have 16 to 255 characters and no control characters",
}


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
        to=at(_LIST, request, project),
    )


@pages.change("/projects/{project}/triggers", to=_LIST, refused=to_admins(partial(listing, about="trigger")))
async def create(request: PageRequest, project: Project) -> Response:
    form, token = request.form, new_token()
    body = body_of(
        CreateTrigger,
        FIELD_ERRORS,
        config=json_object_of(form.one("config"), "The configuration"),
        secret=form.one("signed_with"),
        event=_event_in(form),
        **{name: form.one(name) for name in ("target", "name", "conversation_id")},
    )
    new = new_trigger(body, token)
    made = await idempotent(request, lambda record: commands.create(*request.caller, project.id, new, record))
    if made is None:
        return already_created(request, "The trigger", at(_LIST, request, project))
    return await _show_token(request, project, f"The trigger {made.name} was created", token)


@pages.change(_TRIGGER + "/rotate", to=_LIST)
async def rotate(request: PageRequest, project: Project) -> Response:
    token = new_token()
    made = await idempotent(
        request,
        lambda record: commands.change(*request.named(project), token=token, idempotency=record),
    )
    if made is None:
        return already_created(request, "The URL", at(_LIST, request, project))
    return await _show_token(request, project, f"The trigger {made.name} has a new URL", token)


@pages.change(_TRIGGER + "/enable", to=_LIST)
async def enable(request: PageRequest, project: Project) -> str:
    found = await commands.change(*request.named(project), enabled=True)
    return f"The trigger {found.name} was enabled."


@pages.change(_TRIGGER + "/disable", to=_LIST)
async def disable(request: PageRequest, project: Project) -> str:
    found = await commands.change(*request.named(project), enabled=False)
    return f"The trigger {found.name} was disabled."


@pages.change(_TRIGGER + "/delete", to=_LIST)
async def delete(request: PageRequest, project: Project) -> str:
    await commands.delete(*request.named(project))
    return "The trigger was deleted. The runs that it started are kept."
