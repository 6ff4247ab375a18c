"""Alert rules: the list with their state, and the page of a rule with its history."""

import re
from typing import Any, Final, get_args

from starlette.responses import Response

from runstead.commands import alerts as commands, webhooks
from runstead.core.alerts.alert import KINDS, AlertKind, format_value
from runstead.core.clock import now_ms
from runstead.core.errors import Error
from runstead.core.identity.project import Project
from runstead.http.alerts import CreateAlert, UpdateAlert, members
from runstead.web.framework.command_body import body_of
from runstead.web.framework.form import Fields
from runstead.web.framework.idempotent_form import idempotent
from runstead.web.framework.pages import Pages, if_invalid, to_admins
from runstead.web.framework.request import PageRequest, to

pages = Pages()

_ALERTS: Final = "/projects/{project}/alerts"
_ALERT: Final = _ALERTS + "/{alert_id}"
_FOR_ADMINS: Final = "alerts/for_admins.html"
rows_shown: Final = 50
NUMBERS: Final = ("threshold", "window_seconds", "min_runs", "for_seconds", "repeat_seconds")
LABELS: Final = {kind: KINDS[kind].label for kind in get_args(AlertKind)}
MUTES: Final = {
    3_600: "for an hour",
    28_800: "for 8 hours",
    86_400: "for a day",
    604_800: "for a week",
    0: "for ever",
}
FIELD_ERRORS: Final = {
    "target": "The target has at most 255 characters, such as task:report",
    "schedule_id": "Write the id of a schedule, or leave it empty for all schedules",
    "threshold": "The threshold is a number over 0: a rate up to 1, an age in seconds, or a count",
    "window_seconds": "The window has 900 to 86400 seconds",
    "min_runs": "The fewest runs are a whole number from 1 on",
    "for_seconds": "The time before a change of state has 0 to 86400 seconds",
    "repeat_seconds": "The time between repetitions has 0 to 604800 seconds",
}


async def _hooks(request: PageRequest, project: Project) -> list[tuple[str, str]]:
    """(id, URL) of the webhooks that a rule may name."""
    found = await webhooks.page(*request.caller, project.id)
    return [(one.id, one.url) for one in found]


@pages.show(_ALERTS, to_others=_FOR_ADMINS)
async def index(request: PageRequest, project: Project, refused: Error | None = None) -> Response:
    values: dict[str, Any] = {
        "alerts": await commands.page(*request.caller, project.id),
        "labels": LABELS,
        "shown": format_value,
        "now": now_ms(),
    }
    if request.by_htmx:
        return request.part("alerts/rows.html", project=project, **values)
    return await request.form_page(
        "alerts/listing.html",
        refused,
        project=project,
        hooks=await _hooks(request, project),
        **values,
    )


def _sent(form: Fields) -> dict[str, Any]:
    """The fields of both forms, with numbers where they are."""
    sent: dict[str, Any] = {name: form.one(name) for name in ("name", "webhook_id")}
    for name in NUMBERS:
        text = form.one(name)
        number = float(text) if re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,12})?", text) else text
        sent[name] = int(number) if isinstance(number, float) and number.is_integer() else number
    return sent


@pages.change(_ALERTS, to=_ALERTS, refused=to_admins(index))
async def create(request: PageRequest, project: Project) -> str:
    named = {name: request.form.one(name) for name in ("kind", "target", "schedule_id")}
    body = body_of(CreateAlert, FIELD_ERRORS, **named, **_sent(request.form))
    await idempotent(
        request, lambda record: commands.create(*request.caller, project.id, body.kind, members(body), record)
    )
    return "The alert rule was created."


@pages.show(_ALERT, to_others=_FOR_ADMINS)
async def show(request: PageRequest, project: Project, refused: Error | None = None) -> Response:
    alert = await commands.get(*request.named(project))
    cursor = request.query.seq("cursor")
    found = await commands.history(*request.caller, project.id, alert.id, rows_shown + 1, cursor)
    rows = found[:rows_shown]
    return await request.form_page(
        "alerts/page.html",
        refused,
        project=project,
        alert=alert,
        rows=rows,
        following=to("projects", project.slug, "alerts", alert.id, cursor=rows[-1].seq)
        if len(found) > rows_shown
        else None,
        hooks=await _hooks(request, project),
        labels=LABELS,
        shown=format_value,
        mutes=MUTES,
        now=now_ms(),
    )


@pages.change(_ALERT, to=_ALERT, refused=if_invalid(show))
async def change(request: PageRequest, project: Project) -> str:
    sent = _sent(request.form)
    body = body_of(UpdateAlert, FIELD_ERRORS, **sent)
    changes = members(body) | ({} if sent["webhook_id"] else {"webhook_id": None})
    await commands.change(*request.named(project), changes)
    return "The alert rule was changed."


@pages.change(_ALERT + "/enable", to=_ALERT)
async def enable(request: PageRequest, project: Project) -> str:
    await commands.change(*request.named(project), {}, enabled=True)
    return "The alert rule was enabled."


@pages.change(_ALERT + "/disable", to=_ALERT)
async def disable(request: PageRequest, project: Project) -> str:
    await commands.change(*request.named(project), {}, enabled=False)
    return "The alert rule was disabled."


@pages.change(_ALERT + "/mute", to=_ALERT)
async def mute(request: PageRequest, project: Project) -> str:
    chosen = request.form.one("seconds")
    seconds = next((one for one in MUTES if str(one) == chosen), 0)
    until = now_ms() + seconds * 1000 if seconds else None
    await commands.mute(*request.named(project), until)
    return f"The alert rule is muted {MUTES[seconds]}. Its history goes on."


@pages.change(_ALERT + "/unmute", to=_ALERT)
async def unmute(request: PageRequest, project: Project) -> str:
    await commands.unmute(*request.named(project))
    return "The alert rule sends messages again."


@pages.change(_ALERT + "/test", to=_ALERT)
async def test(request: PageRequest, project: Project) -> str:
    sent = await commands.send_test(*request.named(project))
    return f"A test message was queued for {len(sent)} webhook{'' if len(sent) == 1 else 's'}."


@pages.change(_ALERT + "/delete", to=_ALERTS)
async def delete(request: PageRequest, project: Project) -> str:
    await commands.delete(*request.named(project))
    return "The alert rule was deleted."
