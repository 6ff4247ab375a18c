"""Rows of a list of runs that change while they are looked at.

The reader's page is told of whole rows, each of them only where it looks different than before. However much happens, the
list is read at most twice a second, and no reader takes more than a tenth of a reading thread's time.
"""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Final, NamedTuple

from markupsafe import Markup

from runstead.commands import runs as commands, seq_bounds
from runstead.commands.notifications import ChangePage
from runstead.core.errors import Error
from runstead.core.identity.project import Project
from runstead.core.runs.run import Run, RunStatus
from runstead.http.run_pages import to_cursor
from runstead.web.framework.live import Told
from runstead.web.framework.request import Visit
from runstead.web.runs.filters import Filters, rows_shown
from runstead.web.runs.head import failure

reread_s: Final = 0.5
#: For each second of reading so many seconds of rest.
rest: Final = 9


class Known(NamedTuple):
    """As much of a shown run as is kept: its values may be large."""

    seq: int
    run_id: str
    version: int
    html: Markup


class Rows:
    """What one page shows: rows as HTML, newest first."""

    def __init__(self, visit: Visit, project: Project) -> None:
        self._visit = visit
        self._project = project
        self._shown: dict[int, Known] = {}

    @property
    def html(self) -> list[Markup]:
        return [one.html for one in self._shown.values()]

    @property
    def digest(self) -> int:
        """Tells whether another page shows the same."""
        made = hashlib.blake2b(digest_size=6)
        for row in self.html:
            made.update(row.encode())
        return int.from_bytes(made.digest())

    @property
    def run_ids(self) -> set[str]:
        return {one.run_id for one in self._shown.values()}

    def show(self, found: Sequence[Run]) -> tuple[list[Markup], list[Known]]:
        """Take the newest page in: its rows that are new or look different, and what it has no more."""
        before, self._shown = self._shown, {}
        for run in found:
            known = before.get(run.seq)
            if known is None or known.version != run.version:  # else it looks as it did
                known = Known(run.seq, run.run_id, run.version, self.row(run))
            self._shown[run.seq] = known
        changed = [
            one.html for seq, one in self._shown.items() if seq not in before or before[seq].html != one.html
        ]
        return changed, [one for seq, one in before.items() if seq not in self._shown]

    def row(self, run: Run, *, left: bool = False) -> Markup:
        """`left`: it does not fit the filters any more."""
        html = self._visit.fragment("runs/row.html", run=run, project=self._project, left=left, why=_why(run))
        return Markup(html)  # noqa: S704 - a template made it

    async def farewell(self, known: Known, *, pushed: bool) -> Markup:
        """What becomes of a row that the page has no more. One that newer ones pushed out, or that is deleted, is gone;
        one that only ceased to fit is shown once more, as it is now.
        """
        if not pushed:
            named = commands.RunRef(known.run_id, self._project.id)
            try:
                run = await commands.get(self._visit.app, self._visit.principal, named)
            except Error as error:
                if error.code != "NOT_FOUND":
                    raise
            else:
                return self.row(run, left=True)
        return Markup('<tr id="run-{0}" data-seq="{0}" data-gone hidden></tr>').format(known.seq)


def _why(run: Run) -> str | None:
    """The sentence of a failed run's error."""
    found = failure(run.error) if run.status is RunStatus.FAILED else None
    return None if found is None else found.message


async def follow(
    visit: Visit, project: Project, filters: Filters, seen: str
) -> AsyncGenerator[Told | None, None]:
    """What a page has to do about its rows. `rows`: put each of these rows in the place of the one with its number, or in
    its order; `all`: the same, and there are no others; `older`: where the next page is, if there is one; `news`:
    something happened, be it in the rows or elsewhere. `seen` is the digest of what the page shows.
    """
    loop = asyncio.get_running_loop()
    rows, first, took = Rows(visit, project), True, 0.0
    query = await seq_bounds.with_seq_bounds(visit.app, visit.principal, project.id, filters.query())
    async with aclosing(visit.app.notifications.follow(project.id)) as pages:
        async for page in pages:
            if first or _concerns(page, rows, filters):
                began = loop.time()
                found = await commands.page(visit.app, visit.principal, project.id, query)
                changed, missing = rows.show(found[:rows_shown])
                floor = found[-1].seq if len(found) > rows_shown else 0
                changed += [await rows.farewell(one, pushed=one.seq <= floor) for one in missing]
                took = loop.time() - began
                if changed and not (first and str(rows.digest) == seen):
                    yield Told("all" if first else "rows", "".join(changed), rows.digest)
                    older = to_cursor(found[rows_shown - 1], filters.sort) if floor else ""
                    yield Told("older", filters.address(project.slug, cursor=older) if older else "")
                first = False
            yield Told("news", "") if _of_runs(page) else None
            await asyncio.sleep(max(reread_s, rest * took))


def _of_runs(page: ChangePage) -> bool:
    return any(one.change.run_id is not None or one.change.type == "resync" for one in page.changes)


def _concerns(page: ChangePage, rows: Rows, filters: Filters) -> bool:
    """Whether the rows may look different now. A hint may be lost, so a silence is a reason to look, too."""
    if not page.changes or filters.moving:
        return True
    shown = rows.run_ids
    return any(
        one.change.type in ("run.created", "resync") or one.change.run_id in shown for one in page.changes
    )
