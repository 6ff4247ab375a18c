"""The page of a run: what it is, how far it has come, what went wrong, and what can be done."""

from typing import Any, Final, NamedTuple

from starlette.responses import Response

from runstead.commands import runs
from runstead.commands.runs import RunRef
from runstead.core.clock import now_ms
from runstead.core.errors import Error
from runstead.core.identity.project import Project
from runstead.core.runs.run import Run
from runstead.http.framework.problems import STATUS
from runstead.web.framework.form import Fields
from runstead.web.framework.pages import Pages
from runstead.web.framework.request import Visit, to
from runstead.web.runs import head as run_face, input_form
from runstead.web.runs.head import Recent
from runstead.web.runs.views import NAMES, VIEWS, View

pages = Pages()

PLACE: Final = "/projects/{project}/runs/{run_id}"
#: The parts above the chosen one, each an element with an id of its own.
HEAD: Final = ("runs/head.html", "runs/actions.html")


class Refused:
    """A change that was not done: why, and what was sent, for its form to be shown again."""

    def __init__(self, error: Error, sent: Fields) -> None:
        self.error = error
        self.sent = sent


class Found(NamedTuple):
    """The run that a page is of."""

    project: Project
    named: RunRef
    run: Run

    @property
    def address(self) -> str:
        return place(self.project, self.run.run_id)


async def find(visit: Visit) -> Found:
    """What the path names. NOT_FOUND, FORBIDDEN."""
    project = await visit.project()
    named = RunRef(visit.path["run_id"], project=project.id)
    return Found(project, named, await runs.get(visit.app, visit.principal, named))


def place(project: Project, run_id: str, *more: str, **query: Any) -> str:
    """The address of a run's page, or of one below it."""
    return to("projects", project.slug, "runs", run_id, *more, **query)


def view_of(visit: Visit) -> str:
    """The part that the address asks for."""
    asked = visit.query.one("view")
    return asked if asked in VIEWS else "overview"


async def head(visit: Visit, found: Found, recent: Recent, refused: Refused | None = None) -> dict[str, Any]:
    """What the templates of `HEAD` show."""
    project, named, run = found
    now = now_ms()
    asked = await recent.asked(visit, named, run)
    fields = []
    if asked.request is not None:
        errors = {} if refused is None else input_form.errors_of(refused.error)
        # Only what was sent for this very form is shown in it again.
        mine = refused is not None and refused.sent.one("request") == asked.request.id
        fields = input_form.shown(
            asked.request, refused.sent if refused is not None and mine else None, errors
        )
    return {
        "project": project,
        "run": run,
        "now": now,
        "at": found.address,
        "view": view_of(visit),
        "failure": run_face.failure(run.error),
        "situation": run_face.situation(run, now),
        "labels": run_face.labels(run),
        "recent": recent,
        "asked": asked,
        "fields": fields,
        "refused": refused,
        "may_write": visit.may("runs:write", project),
        "may_delete": visit.may("admin", project),
    }


def below(found: Found, view: View) -> dict[str, Any]:
    """What the template of a part shows."""
    return {
        "project": found.project,
        "run": found.run,
        "at": found.address,
        "artifacts": run_face.artifacts(found.run),
        "value_names": run_face.VALUES,
        **view.values(),
    }


@pages.get(PLACE)
async def show(visit: Visit) -> Response:
    return await page(visit, await find(visit))


async def page(visit: Visit, found: Found, refused: Refused | None = None) -> Response:
    """The whole page. With `refused` it says why a change was not done, with the status that this has."""
    name, recent, run = view_of(visit), Recent(), found.run
    view = VIEWS[name](visit, found.named)
    await recent.read(visit, found.named, run)
    await view.read(run)
    shown = below(found, view)
    live = None
    if not run.terminal:
        kept = {name: visit.query.one(name) for name in ("from", "before", "q")}
        kept |= {"view": name, "after": str(run.latest_event_id), "since": str(shown.get("since") or "")}
        live = place(found.project, run.run_id, "live", **kept)
    return await visit.page(
        "runs/page.html",
        status=200 if refused is None else STATUS[refused.error.code],
        views=NAMES,
        part=view.template,
        live=live,
        **shown | await head(visit, found, recent, refused),
    )
