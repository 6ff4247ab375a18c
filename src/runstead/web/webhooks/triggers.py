"""Triggers: addresses that start runs. They are listed with the webhooks."""

from typing import Final

from starlette.responses import Response

from runstead.commands import triggers as commands
from runstead.core import limits
from runstead.core.errors import Error
from runstead.core.identity.project import Project
from runstead.core.schedules.trigger import new_token
from runstead.http.framework.values import bounded, json_object
from runstead.http.triggers import CreateTrigger
from runstead.web.framework.command_body import body_of, json_object_of
from runstead.web.framework.idempotent_form import made_before, once, reveal
from runstead.web.framework.pages import Pages
from runstead.web.framework.request import Visit, to
from runstead.web.webhooks.pages import listing

pages = Pages()

TOLD: Final = {
    "target": "The target must be task:<id>, workflow:<id>, eval:<id> or agent:<id>",
    "conversation_id": "The conversation is no id of one: leave it out, and each run of an agent gets a new one",
    "secret": "The signing secret must have 16 to 255 characters, and no control characters",
}


def _list(project: Project) -> str:
    return to("projects", project.slug, "webhooks") + "#triggers"


async def _show_token(visit: Visit, project: Project, title: str, token: str) -> Response:
    return await reveal(
        visit,
        project,
        title=title,
        label="Its address, to be called with POST",
        secret=f"{visit.origin}/triggers/{token}",
        note="Whoever knows the address can start the run. It is shown only now; the server keeps a hash of it.",
        to=_list(project),
    )


@pages.post("/projects/{project}/triggers")
async def create(visit: Visit) -> Response:
    project, form, token = await visit.project(), visit.form, new_token()
    try:
        body = body_of(
            CreateTrigger,
            TOLD,
            target=form.one("target"),
            name=form.one("name"),
            config=json_object_of(form.one("config"), "The configuration"),
            secret=form.one("signed_with"),
            conversation_id=form.one("conversation_id"),
        )
        new = commands.NewTrigger(
            target=body.target,
            token=token,
            name=body.name,
            config=bounded("config", json_object(body.config), limits.trigger_config_bytes_max),
            secret=body.secret,
            conversation_id=body.conversation_id,
        )
        made = await once(
            visit,
            lambda idempotency: commands.create(visit.app, visit.principal, project.id, new, idempotency),
        )
    except Error as refused:
        if not visit.may("admin", project):
            raise
        return await listing(visit, project, refused, "trigger")
    if made is None:
        return made_before(visit, "The trigger", _list(project))
    return await _show_token(visit, project, f"The trigger {made.name} is there", token)


@pages.post("/projects/{project}/triggers/{trigger_id}/rotate")
async def rotate(visit: Visit) -> Response:
    project, token = await visit.project(), new_token()
    made = await once(
        visit,
        lambda idempotency: commands.change(
            visit.app,
            visit.principal,
            project.id,
            visit.path["trigger_id"],
            token=token,
            idempotency=idempotency,
        ),
    )
    if made is None:
        return made_before(visit, "The new address", _list(project))
    return await _show_token(visit, project, f"The trigger {made.name} has a new address", token)


async def _enable(visit: Visit, *, enabled: bool) -> Response:
    project = await visit.project()
    found = await commands.change(
        visit.app, visit.principal, project.id, visit.path["trigger_id"], enabled=enabled
    )
    told = f"The trigger {found.name} is {'enabled' if enabled else 'disabled'}."
    return visit.back(told, _list(project))


@pages.post("/projects/{project}/triggers/{trigger_id}/enable")
async def enable(visit: Visit) -> Response:
    return await _enable(visit, enabled=True)


@pages.post("/projects/{project}/triggers/{trigger_id}/disable")
async def disable(visit: Visit) -> Response:
    return await _enable(visit, enabled=False)


@pages.post("/projects/{project}/triggers/{trigger_id}/delete")
async def delete(visit: Visit) -> Response:
    project = await visit.project()
    await commands.delete(visit.app, visit.principal, project.id, visit.path["trigger_id"])
    return visit.back("The trigger is deleted. The runs that it started stay.", _list(project))
