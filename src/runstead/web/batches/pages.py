"""Batches: the list, and one of them as it goes on."""

from collections.abc import AsyncGenerator
from typing import Final

import msgspec
from starlette.responses import Response

from runstead.commands import batches as commands, runs
from runstead.core import limits
from runstead.core.batches.batch import COUNTED, Batch
from runstead.core.clock import now_ms
from runstead.core.errors import Error
from runstead.core.identity.principal import Scope
from runstead.core.identity.project import Project
from runstead.core.runs.run import Run
from runstead.ports.store import RunQuery
from runstead.web.batches.eta import Pace
from runstead.web.framework import live
from runstead.web.framework.idempotent_form import once, once_field
from runstead.web.framework.pages import Pages
from runstead.web.framework.request import Visit, to

pages = Pages()

rows_shown: Final = 50
runs_shown: Final = 15
#: The states as they stand in the bar: what has ended first, so that it grows from the left.
_BAR: Final = ("completed", "failed", "cancelled", "waiting", "running", "pending")


class Piece(msgspec.Struct, frozen=True):
    """A part of the bar: `x` and `width` in percent."""

    state: str
    count: int
    x: float
    width: float


class Shown(msgspec.Struct, frozen=True):
    """A batch with its bar."""

    row: Batch
    bar: list[Piece]
    counts: list[tuple[str, int]]

    @property
    def going(self) -> bool:
        """Whether anything of it can still change."""
        return self.row.completed_at is None

    @property
    def ended(self) -> int:
        return self.row.total - self.row.active

    @property
    def percent(self) -> int:
        """Of the runs that have ended; 100 says that all have."""
        return 100 * self.ended // self.row.total if self.row.total else 100

    @property
    def took_ms(self) -> int | None:
        """From the first start to the end of the last run."""
        start, end = self.row.started_at, self.row.completed_at
        return None if start is None or end is None else max(0, end - start)


def shown(batch: Batch) -> Shown:
    pieces, x, total = [], 0.0, max(1, batch.total)
    for state in _BAR:
        count = getattr(batch, state)
        if count:
            width = 100 * count / total
            pieces.append(Piece(state, count, round(x, 4), round(width, 4)))
            x += width
    return Shown(batch, pieces, [(state, getattr(batch, state)) for state in COUNTED])


@pages.get("/projects/{project}/batches")
async def index(visit: Visit) -> Response:
    project = await visit.project()
    before = _before(visit.query.one("before"))
    found = await commands.page(visit.app, visit.principal, project.id, rows_shown + 1, before)
    rows = found[:rows_shown]
    following = rows[-1].seq if len(found) > rows_shown else None
    return await visit.page(
        "batches/listing.html",
        project=project,
        rows=[shown(one) for one in rows],
        first=before is None,
        following=following and to("projects", project.slug, "batches", before=following),
    )


def _before(text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise Error("INVALID_REQUEST", "There is no such page of the list: open it anew")
    return int(text)


@pages.get("/projects/{project}/batches/{batch_id}")
async def one(visit: Visit) -> Response:
    project, batch = await _named(visit)
    latest = await _runs(visit, project, batch)
    failed = await _runs(visit, project, batch, "failed") if batch.failed else []
    follow_up = None
    if batch.on_complete is not None:
        follow_up = msgspec.json.decode(batch.on_complete, type=commands.FollowUp)
    return await visit.page(
        "batches/page.html",
        project=project,
        one=shown(batch),
        left_ms=Pace().time_left_ms(batch, now_ms()),
        runs=latest[:runs_shown],
        more=len(latest) > runs_shown,
        failed=failed[:runs_shown],
        more_failed=len(failed) > runs_shown,
        follow_up=follow_up,
        once_field=once_field(),
    )


async def _runs(visit: Visit, project: Project, batch: Batch, *statuses: str) -> list[Run]:
    query = RunQuery((), statuses, batch_id=batch.id, limit=runs_shown + 1)
    return await runs.page(visit.app, visit.principal, project.id, query)


@pages.get("/projects/{project}/batches/{batch_id}/live")
async def watch(visit: Visit) -> Response:
    """The bar and its numbers whenever they have moved; once the batch is over, `over`, and nothing more."""
    project, batch = await _named(visit)
    return live.stream(visit.app, _told(visit, project, batch))


async def _told(visit: Visit, project: Project, batch: Batch) -> AsyncGenerator[live.Told | None, None]:
    pace, offered = Pace(), ""
    async for found in visit.app.followers.follow_batch(batch):
        if found is None:
            yield None
            continue
        left_ms = pace.time_left_ms(found, now_ms())
        values = {"project": project, "one": shown(found), "left_ms": left_ms, "once_field": once_field()}
        yield live.Told("progress", visit.fragment("batches/progress.html", **values))
        offers = "retry" if found.completed_at is not None else "nothing" if found.closed else "cancel"
        if offers not in ("cancel", offered):  # before, what is typed into the form stays there
            yield live.Told("buttons", visit.fragment("batches/buttons.html", **values))
            offered = offers
        if found.completed_at is not None:
            yield live.Told("over", "")


@pages.post("/projects/{project}/batches/{batch_id}/cancel")
async def cancel(visit: Visit) -> Response:
    project, batch = await _named(visit, Scope.RUNS_WRITE)
    reason = visit.form.one("reason").replace("\0", "")
    if len(reason) > limits.error_message_chars_max:
        most = limits.error_message_chars_max
        raise Error("INVALID_REQUEST", f"A reason has at most {most:,} characters")
    changed = await commands.cancel(visit.app, visit.principal, project.id, batch.id, reason or None)
    told = (
        "The batch was called off." if changed.accepted else f"The batch is {changed.batch.status} already."
    )
    return visit.back(told, to("projects", project.slug, "batches", batch.id))


@pages.post("/projects/{project}/batches/{batch_id}/retry")
async def retry(visit: Visit) -> Response:
    """On to the new batch. Who presses twice makes one."""
    project, batch = await _named(visit, Scope.RUNS_WRITE)
    cancelled = visit.form.one("cancelled") == "1"
    made = await once(
        visit,
        lambda idempotency: commands.retry(
            visit.app, visit.principal, project.id, batch.id, cancelled=cancelled, idempotency=idempotency
        ),
    )
    if made is None:
        told = "The new batch was made when the form was sent first."
        return visit.back(told, to("projects", project.slug, "batches"))
    count = len(made.runs)
    told = f"{count:,} run{' is' if count == 1 else 's are'} tried again, in this new batch."
    return visit.back(told, to("projects", project.slug, "batches", made.batch.id))


async def _named(visit: Visit, scope: Scope = Scope.RUNS_READ) -> tuple[Project, Batch]:
    project = await visit.project(scope)
    return project, await commands.get(visit.app, visit.principal, project.id, visit.path["batch_id"])
