"""The page of a run: its head with status and actions, and one of its views."""

from typing import Any, Final, NamedTuple

import msgspec
from starlette.responses import RedirectResponse, Response

from runstead.commands import locate, runs
from runstead.commands.runs import RunRef
from runstead.commands.targets import unserved_since
from runstead.core.clock import now_ms
from runstead.core.errors import Error, not_found
from runstead.core.identity.principal import Scope
from runstead.core.identity.project import Project
from runstead.core.runs.run import Run
from runstead.core.runs.transitions import budget_of_call, open_events
from runstead.http.framework.problems import STATUS
from runstead.web.framework.form import Fields
from runstead.web.framework.pages import Pages
from runstead.web.framework.policy import policy
from runstead.web.framework.request import PageRequest, to
from runstead.web.runs import head, input_form
from runstead.web.runs.head import RecentEvents
from runstead.web.runs.views import TITLES, VIEWS, View

pages = Pages()

PATH: Final = "/projects/{project}/runs/{run_id}"
#: The templates above the chosen view. Each is one element with an id.
HEAD_TEMPLATES: Final = ("runs/head.html", "runs/actions.html")


class Refused(NamedTuple):
    """A rejected form: its error, and the fields that were sent, so that the form is shown again."""

    error: Error
    sent: Fields


class RunPage(NamedTuple):
    """The run that a page shows, with its project."""

    project: Project
    named: RunRef
    run: Run

    @property
    def address(self) -> str:
        return run_address(self.project, self.run.run_id)


async def load_run(request: PageRequest) -> RunPage:
    """The run in the path. NOT_FOUND, FORBIDDEN."""
    project = await request.project()
    named = RunRef(request.path["run_id"], project=project.id)
    return RunPage(project, named, await runs.get(*request.caller, named))


def run_address(project: Project, run_id: str, *more: str, **query: Any) -> str:
    """The address of a run's page, or of a page below that address."""
    return to("projects", project.slug, "runs", run_id, *more, **query)


def view_of(request: PageRequest) -> str:
    """The view in the address, by default the overview."""
    name = request.query.one("view")
    return name if name in VIEWS else "overview"


async def head_values(
    request: PageRequest, page: RunPage, recent: RecentEvents, refused: Refused | None = None
) -> dict[str, Any]:
    """The values of the templates `HEAD_TEMPLATES`."""
    project, named, run = page
    now = now_ms()
    question = await recent.question(request, named, run)
    fields = []
    if question.input_request is not None:
        errors = {} if refused is None else input_form.errors_of(refused.error)
        # The posted values are shown again only if they were posted for this request.
        same_form = refused is not None and refused.sent.one("request") == question.input_request.id
        fields = input_form.field_views(
            question.input_request, refused.sent if refused is not None and same_form else None, errors
        )
    return {
        "project": project,
        "run": run,
        "now": now,
        "at": page.address,
        "view": view_of(request),
        "failure": head.failure(run.error),
        "situation": head.situation(run, now, unserved=await unserved_since(request.app, run) is not None),
        "labels": head.labels(run),
        "progress": head.progress(run),
        "asked": question,
        "awaited": list(dict.fromkeys(each.name for each in open_events(run))),
        "matches": [
            (each.name, [(path, msgspec.json.encode(value).decode()) for path, value in each.match.items()])
            for each in open_events(run)
            if each.match
        ],
        "budget_call": run.waiting_reason == "approval"
        and budget_of_call(run.waiting_tool_call_id) is not None,
        "fields": fields,
        "keeps_secrets": request.app.secrets.current is not None,
        "refused": refused,
        "may_write": request.may("runs:write", project),
        "may_delete": request.may("admin", project),
    }


def view_values(page: RunPage, view: View) -> dict[str, Any]:
    """The values of the view's templates."""
    return {
        "project": page.project,
        "run": page.run,
        "at": page.address,
        "may_retry": page.run.terminal and view.request.may("runs:write", page.project),
        "retry_from": None if page.run.retry_from is None else msgspec.json.decode(page.run.retry_from),
        "artifacts": head.artifacts(page.run),
        "value_names": head.VALUES,
        **view.values(),
    }


@pages.get(PATH)
async def show(request: PageRequest) -> Response:
    return await render_page(request, await load_run(request))


@pages.get("/runs/{run_id}")
async def find(request: PageRequest) -> Response:
    """Redirect to the page of a run whose project the address does not name: `runstead open` prints such addresses."""
    run = await runs.get(*request.caller, RunRef(request.path["run_id"]))
    if run.project_id is None:
        raise not_found("Page")
    project = await locate.project(*request.caller, Scope.RUNS_READ, run.project_id)
    return RedirectResponse(run_address(project, run.run_id), 303)


async def render_page(request: PageRequest, page: RunPage, refused: Refused | None = None) -> Response:
    """The whole page. With `refused` it shows the error, and the response has the error's status."""
    name, recent, run = view_of(request), RecentEvents(), page.run
    view = VIEWS[name](request, page.named)
    await recent.read(request, page.named, run)
    await view.read(run)
    values = view_values(page, view)
    live = None
    if not run.terminal:
        fields = {name: request.query.one(name) for name in ("from", "before", "q", "level", "begin", "end")}
        fields |= {"view": name, "after": str(run.latest_event_id), "since": str(values.get("since") or "")}
        live = run_address(page.project, run.run_id, "live", **fields)
    response = await request.page(
        "runs/page.html",
        status=200 if refused is None else STATUS[refused.error.code],
        views=TITLES,
        part=view.template,
        live=live,
        codec_url=request.app.codec_url,
        **values | await head_values(request, page, recent, refused),
    )
    if request.app.codec_url is not None:
        response.headers["Content-Security-Policy"] = policy(request.app.codec_url)
    return response
