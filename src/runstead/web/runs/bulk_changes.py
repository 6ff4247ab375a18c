"""Cancelling and trying again many runs of a list at once."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

from starlette.responses import Response

from runstead.commands import create, runs as commands
from runstead.core.errors import Error
from runstead.core.identity.principal import Scope
from runstead.core.identity.project import Project
from runstead.web.access.sign_in import ours
from runstead.web.framework.pages import Pages
from runstead.web.framework.request import Visit
from runstead.web.runs.filters import rows_shown

pages = Pages()


class Change(NamedTuple):
    """`make` tries it on one run and says what became of it, as a part of a sentence after a number."""

    verb: str
    note: str
    make: Callable[[Visit, Project, str], Awaitable[str]]


async def _cancel(visit: Visit, project: Project, run_id: str) -> str:
    written = await commands.cancel(visit.app, visit.principal, commands.RunRef(run_id, project.id), None)
    return "cancelled" if written.transition.accepted else "had ended already"


async def _retry(visit: Visit, project: Project, run_id: str) -> str:
    try:
        await create.retry(visit.app, visit.principal, run_id, project.id)
    except Error as error:
        if error.code != "RUN_NOT_TERMINAL":
            raise
        return "had not ended yet"
    return "tried again"


CHANGES: Final = {
    "cancel": Change(
        "Cancel", "Whatever runs below them is cancelled as well. This cannot be undone.", _cancel
    ),
    "retry": Change("Retry", "Each becomes a new run with the same request.", _retry),
}


@pages.post("/projects/{project}/list/changes")
async def change(visit: Visit) -> Response:
    """Ask whether it is meant, unless the page has asked already; then do it, and say what became of each."""
    project = await visit.project(Scope.RUNS_WRITE)
    run_ids = list(dict.fromkeys(visit.form.all("run")))
    wanted = CHANGES.get(visit.form.one("do"))
    if wanted is None:
        raise Error("INVALID_REQUEST", "There is nothing to do: cancel or retry")
    if not 1 <= len(run_ids) <= rows_shown:
        raise Error(
            "INVALID_REQUEST", f"{len(run_ids)} runs are checked: check 1 to {rows_shown}, and choose again"
        )
    back = ours(visit.form.one("back"))
    if not visit.form.one("sure"):
        return await visit.page(
            "runs/changes.html",
            project=project,
            do=visit.form.one("do"),
            change=wanted,
            run_ids=run_ids,
            list_address=back,
        )
    outcomes = await asyncio.gather(*(_tried(wanted, visit, project, run_id) for run_id in run_ids))
    return visit.back(sentence(outcomes), back)


async def _tried(change: Change, visit: Visit, project: Project, run_id: str) -> str:
    try:
        return await change.make(visit, project, run_id)
    except Error as error:
        if error.code == "NOT_FOUND":
            return "not there any more"
        return f"refused ({error.message})"


def sentence(outcomes: list[str]) -> str:
    """`12 cancelled, 3 had ended already.`"""
    return ", ".join(f"{count} {outcome}" for outcome, count in Counter(outcomes).most_common()) + "."
