"""Live rows of the list of runs.

A page receives whole rows, and only those that look different. The list is read at most twice a second, and
one page uses at most a tenth of a reader thread's time, however much changes.
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
from runstead.core.runs.run import Run
from runstead.http.run_pages import to_cursor
from runstead.web.framework.live import Message
from runstead.web.framework.request import PageRequest
from runstead.web.runs.filters import Filters
from runstead.web.runs.head import error_summary, progress

reread_s: Final = 0.5
#: Pause after a read, as a multiple of the time that it took.
rest_factor: Final = 9


class ShownRow(NamedTuple):
    """What is remembered of a shown run, whose values may be large."""

    seq: int
    run_id: str
    version: int
    html: Markup


class Rows:
    """The rows of one page as HTML, newest first."""

    def __init__(self, request: PageRequest, project: Project) -> None:
        self._request = request
        self._project = project
        self._shown: dict[int, ShownRow] = {}

    @property
    def html(self) -> list[Markup]:
        return [one.html for one in self._shown.values()]

    @property
    def digest(self) -> int:
        """A hash of the rows, to compare two pages."""
        made = hashlib.blake2b(digest_size=6)
        for row in self.html:
            made.update(row.encode())
        return int.from_bytes(made.digest())

    @property
    def run_ids(self) -> set[str]:
        return {one.run_id for one in self._shown.values()}

    def show(self, found: Sequence[Run]) -> tuple[list[Markup], list[ShownRow]]:
        """Show these runs. Return the rows that are new or look different, and the rows that left."""
        before, self._shown = self._shown, {}
        for run in found:
            row = before.get(run.seq)
            if row is None or row.version != run.version:  # else its HTML is the same
                row = ShownRow(run.seq, run.run_id, run.version, self.row(run))
            self._shown[run.seq] = row
        changed = [
            one.html for seq, one in self._shown.items() if seq not in before or before[seq].html != one.html
        ]
        return changed, [one for seq, one in before.items() if seq not in self._shown]

    def row(self, run: Run, *, unmatched: bool = False) -> Markup:
        """The row of a run. `unmatched`: the run no longer matches the filters."""
        html = self._request.fragment(
            "runs/row.html",
            run=run,
            project=self._project,
            unmatched=unmatched,
            error=error_summary(run),
            progress=progress(run),
        )
        return Markup(html)  # noqa: S704 - a template made it

    async def replacement(self, row: ShownRow, *, pushed_out: bool) -> Markup:
        """What replaces a row that is no longer on the page.

        A row that was pushed out by newer ones, or whose run was deleted, is removed. A row whose run no
        longer matches the filters is shown in its current state, marked as unmatched.
        """
        if not pushed_out:
            named = commands.RunRef(row.run_id, self._project.id)
            try:
                run = await commands.get(*self._request.caller, named)
            except Error as error:
                if error.code != "NOT_FOUND":
                    raise
            else:
                return self.row(run, unmatched=True)
        return Markup('<tr id="run-{0}" data-seq="{0}" data-gone hidden></tr>').format(row.seq)


async def follow(
    request: PageRequest, project: Project, filters: Filters, seen: str
) -> AsyncGenerator[Message | None, None]:
    """The messages for a page of the list. `seen` is the digest of the rows that the page shows.

    `rows`: replace or insert each of these rows. `all`: the same, and remove all other rows. `older`: the
    address of the next page, empty if there is none. `news`: some run of the project changed.
    """
    loop = asyncio.get_running_loop()
    rows, first, took = Rows(request, project), True, 0.0
    query = await seq_bounds.with_seq_bounds(*request.caller, project.id, filters.query())
    async with aclosing(request.app.notifications.follow(project.id)) as pages:
        async for page in pages:
            if first or _affects(page, rows, filters):
                began = loop.time()
                found = await commands.page(*request.caller, project.id, query)
                changed, missing = rows.show(found.rows)
                oldest_seq = found.rows[-1].seq if found.more else 0
                changed += [await rows.replacement(one, pushed_out=one.seq < oldest_seq) for one in missing]
                took = loop.time() - began
                # At first nothing is known of the rows on the page but their digest: they may all have left the list.
                if str(rows.digest) != seen if first else changed:
                    yield Message("all" if first else "rows", "".join(changed), rows.digest)
                    older = to_cursor(found.rows[-1], filters.sort) if found.more else ""
                    yield Message("older", filters.address(project.slug, cursor=older) if older else "")
                first = False
            yield Message("news", "") if _about_runs(page) else None
            await asyncio.sleep(max(reread_s, rest_factor * took))


def _about_runs(page: ChangePage) -> bool:
    return any(one.change.run_id is not None or one.change.type == "resync" for one in page.changes)


def _affects(page: ChangePage, rows: Rows, filters: Filters) -> bool:
    """Whether the rows may look different now. Notifications can be lost, so a heartbeat also triggers a read."""
    if not page.changes or filters.mutable:
        return True
    shown = rows.run_ids
    return any(
        one.change.type in ("run.created", "resync") or one.change.run_id in shown for one in page.changes
    )
