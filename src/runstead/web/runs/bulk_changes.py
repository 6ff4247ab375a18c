"""Cancels or retries the checked runs of a list."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

from starlette.responses import Response

from runstead.commands import retry, runs as commands
from runstead.core.errors import Error
from runstead.core.identity.principal import Scope
from runstead.core.identity.project import Project
from runstead.web.access.sign_in import local_address
from runstead.web.framework.pages import Pages
from runstead.web.framework.request import PageRequest
from runstead.web.runs.filters import rows_shown

pages = Pages()


class Change(NamedTuple):
    """A bulk action. `apply` changes one run and returns its outcome, such as "cancelled"."""

    verb: str
    note: str
    apply: Callable[[PageRequest, Project, str], Awaitable[str]]


async def _cancel(request: PageRequest, project: Project, run_id: str) -> str:
    written = await commands.cancel(*request.caller, commands.RunRef(run_id, project.id), None)
    return "cancelled" if written.transition.accepted else "had already ended"


async def _retry(request: PageRequest, project: Project, run_id: str) -> str:
    try:
        await retry.retry(*request.caller, run_id, project.id)
    except Error as error:
        if error.code != "RUN_NOT_TERMINAL":
            raise
        return "had not ended yet"
    return "retried"


CHANGES: Final = {
    "cancel": Change("Cancel", "Their child runs are cancelled too. This cannot be undone.", _cancel),
    "retry": Change("Retry", "Creates a new run with the same request for each of them.", _retry),
}


@pages.post("/projects/{project}/list/changes")
async def change(request: PageRequest) -> Response:
    """Ask for confirmation unless the page has done so; then change the runs and show the outcomes."""
    project = await request.project(Scope.RUNS_WRITE)
    run_ids = list(dict.fromkeys(request.form.all("run")))
    wanted = CHANGES.get(request.form.one("do"))
    if wanted is None:
        raise Error("INVALID_REQUEST", "Choose an action: cancel or retry")
    if not 1 <= len(run_ids) <= rows_shown:
        raise Error("INVALID_REQUEST", f"{len(run_ids)} runs are checked: check 1 to {rows_shown}")
    list_address = local_address(request.form.one("back"))
    if not request.form.one("sure"):
        return await request.page(
            "runs/changes.html",
            project=project,
            do=request.form.one("do"),
            change=wanted,
            run_ids=run_ids,
            list_address=list_address,
        )
    outcomes = await asyncio.gather(*(_apply(wanted, request, project, run_id) for run_id in run_ids))
    return request.redirect_with_flash(summary(outcomes), list_address)


async def _apply(change: Change, request: PageRequest, project: Project, run_id: str) -> str:
    try:
        return await change.apply(request, project, run_id)
    except Error as error:
        if error.code == "NOT_FOUND":
            return "no longer there"
        return f"refused ({error.message})"


def summary(outcomes: list[str]) -> str:
    """A sentence such as `12 cancelled, 3 had already ended.`"""
    return ", ".join(f"{count} {outcome}" for outcome, count in Counter(outcomes).most_common()) + "."
