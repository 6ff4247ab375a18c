"""Bulk jobs on all runs that match the filters of a list: begin one, and watch its progress."""

from typing import Any, Final, cast, get_args

import msgspec
from starlette.responses import Response

from runstead.commands import bulk_jobs as commands
from runstead.core import limits
from runstead.core.batches.bulk_job import BulkAction, refusals_of
from runstead.core.clock import iso
from runstead.core.errors import Error
from runstead.core.identity.principal import Scope
from runstead.core.identity.project import Project
from runstead.web.framework.idempotent_form import idempotent
from runstead.web.framework.pages import Pages
from runstead.web.framework.request import PageRequest, to
from runstead.web.runs.filters import Filters, exact_filters_of

pages = Pages()

_PATH: Final = "/projects/{project}/list/bulk"
_JOB: Final = _PATH + "/{job_id}"
_TITLES: Final[dict[BulkAction, str]] = {"cancel": "Cancel", "retry": "Retry", "delete": "Delete"}


@pages.show(_PATH, scope=Scope.RUNS_WRITE)
async def ask(request: PageRequest, project: Project) -> Response:
    """Show how many runs match, and what can be done with all of them."""
    filters = exact_filters_of(request.query)
    most = limits.bulk_runs_max
    count = await commands.count(*request.caller, project.id, filters.query())
    return await request.page(
        "runs/bulk.html",
        project=project,
        filters=filters,
        shown=_shown(filters),
        count=min(count, most),
        too_many=count > most,
        list_address=filters.address(project.slug),
    )


@pages.post(_PATH)
async def begin(request: PageRequest) -> Response:
    """Begin the job, once for each form, and redirect to its page."""
    project = await request.project(Scope.RUNS_WRITE)
    filters, action, _, from_step = exact_filters_of(request.query), *request.form.one("do").partition(":")
    if action not in get_args(BulkAction):
        raise Error("INVALID_REQUEST", "Choose an action: cancel, retry or delete")
    new = commands.NewBulkJob(
        action=cast(BulkAction, action),
        filter=filters.query(),
        shown_filter=msgspec.json.encode(_shown(filters)),
        from_step=from_step or None,
    )
    job = await idempotent(request, lambda record: commands.create(*request.caller, project.id, new, record))
    if job is None:
        return request.redirect_with_flash(
            "The job was begun when the form was first sent.", filters.address(project.slug)
        )
    return request.redirect_with_flash("The job has begun.", _address(project, job.id))


@pages.show(_JOB)
async def show(request: PageRequest, project: Project) -> Response:
    job = await commands.get(*request.named(project))
    return await request.page(
        "runs/bulk_job.html",
        project=project,
        job=job,
        title=_TITLES[job.action],
        shown=msgspec.json.decode(job.filter),
        errors=refusals_of(job),
        address=_address(project, job.id),
    )


@pages.change(_JOB + "/cancel", to=_JOB, scope=Scope.RUNS_WRITE)
async def cancel(request: PageRequest, project: Project) -> str:
    job = await commands.cancel(*request.named(project))
    return "The job was stopped." if job.status == "cancelled" else "The job had already ended."


def _address(project: Project, job_id: str) -> str:
    return to("projects", project.slug, "list", "bulk", job_id)


def _shown(filters: Filters) -> dict[str, Any]:
    """The filters as the API has them."""
    since, until = filters.times()
    given = {
        "status": filters.status,
        "kind": filters.kind,
        "target": (filters.target,) if filters.target else (),
        "label": filters.label,
        "batch_id": filters.batch,
        "schedule_id": filters.schedule,
        "created_after": None if since is None else iso(since - 1),
        "created_before": None if until is None else iso(until),
        "q": filters.q,
    }
    return {name: value for name, value in given.items() if value}
