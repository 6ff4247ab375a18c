"""Batches: the list, and the page of a batch with live progress."""

from collections.abc import AsyncGenerator
from typing import Final

import msgspec
from starlette.responses import Response

from runstead.commands import batches as commands, runs
from runstead.core import limits
from runstead.core.batches.batch import COUNTED, Batch, shown_status
from runstead.core.batches.eta import Eta
from runstead.core.clock import now_ms
from runstead.core.errors import Error
from runstead.core.identity.principal import Scope
from runstead.core.identity.project import Project
from runstead.core.runs.run import OMITTABLE, Run
from runstead.ports.store import ListPage, RunQuery
from runstead.web.framework import live
from runstead.web.framework.idempotent_form import idempotent
from runstead.web.framework.pages import Pages
from runstead.web.framework.request import PageRequest, to
from runstead.web.runs.head import error_summary

pages = Pages()

_BATCHES: Final = "/projects/{project}/batches"
_BATCH: Final = _BATCHES + "/{batch_id}"
rows_shown: Final = 50
runs_shown: Final = 15
#: Order of the states in the bar: ended runs first, so that they grow from the left.
_BAR: Final = ("completed", "failed", "cancelled", "waiting", "running", "pending")


class Piece(msgspec.Struct, frozen=True):
    """A segment of the bar: `x` and `width` in percent."""

    state: str
    count: int
    x: float
    width: float


class BatchView(msgspec.Struct, frozen=True):
    """A batch with its progress bar."""

    row: Batch
    bar: list[Piece]
    counts: list[tuple[str, int]]

    @property
    def active(self) -> bool:
        """Whether some runs have not ended."""
        return self.row.completed_at is None

    @property
    def status(self) -> str:
        return shown_status(self.row.status, self.row.failed)

    @property
    def ended(self) -> int:
        return self.row.total - self.row.active

    @property
    def percent(self) -> int:
        """The share of runs that have ended, rounded down: 100 means all of them."""
        return 100 * self.ended // self.row.total if self.row.total else 100

    @property
    def took_ms(self) -> int | None:
        """Milliseconds from the start of the first run to the end of the last."""
        start, end = self.row.started_at, self.row.completed_at
        return None if start is None or end is None else max(0, end - start)


def batch_view(batch: Batch) -> BatchView:
    """The batch with the segments of its bar."""
    pieces, x, total = [], 0.0, max(1, batch.total)
    for state in _BAR:
        count = getattr(batch, state)
        if count:
            width = 100 * count / total
            pieces.append(Piece(state, count, round(x, 4), round(width, 4)))
            x += width
    return BatchView(batch, pieces, [(state, getattr(batch, state)) for state in COUNTED])


def _time_left_ms(eta: Eta, batch: Batch, now: int) -> int | None:
    """The estimate, with the rate since the start of the first run. None if no run has started."""
    if batch.started_at is None:
        return None
    return eta.time_left_ms(batch.total - batch.active, batch.total, now, batch.started_at)


@pages.show(_BATCHES)
async def index(request: PageRequest, project: Project) -> Response:
    before = request.query.seq("before")
    found = await commands.page(*request.caller, project.id, rows_shown, before)
    following = found.rows[-1].seq if found.more else None
    return await request.page(
        "batches/listing.html",
        project=project,
        rows=[batch_view(one) for one in found.rows],
        first=before is None,
        following=following and to("projects", project.slug, "batches", before=following),
    )


@pages.show(_BATCH)
async def show(request: PageRequest, project: Project) -> Response:
    batch = await commands.get(*request.named(project))
    latest = await _runs(request, project, batch)
    failed = await _runs(request, project, batch, "failed") if batch.failed else ListPage([], more=False)
    follow_up = None
    if batch.on_complete is not None:
        follow_up = msgspec.json.decode(batch.on_complete, type=commands.FollowUp)
    return await request.page(
        "batches/page.html",
        project=project,
        one=batch_view(batch),
        left_ms=_time_left_ms(Eta(), batch, now_ms()),
        runs=latest.rows,
        more=latest.more,
        error_of=error_summary,
        failed=failed.rows,
        more_failed=failed.more,
        follow_up=follow_up,
    )


async def _runs(request: PageRequest, project: Project, batch: Batch, *statuses: str) -> ListPage[Run]:
    query = RunQuery((), statuses, batch_id=batch.id, limit=runs_shown, omit=OMITTABLE - {"error"})
    return await runs.page(*request.caller, project.id, query)


@pages.show(_BATCH + "/live")
async def watch(request: PageRequest, project: Project) -> Response:
    """Stream the progress bar after each change. `over` is the last message, when the batch is complete."""
    batch = await commands.get(*request.named(project))
    return live.stream(request, project, _messages(request, project, batch))


async def _messages(
    request: PageRequest, project: Project, batch: Batch
) -> AsyncGenerator[live.Message | None, None]:
    eta, offered = Eta(), ""
    async for found in request.app.followers.follow_batch(batch):
        if found is None:
            yield None
            continue
        left_ms = _time_left_ms(eta, found, now_ms())
        values = {"project": project, "one": batch_view(found), "left_ms": left_ms}
        yield live.Message("progress", request.fragment("batches/progress.html", **values))
        offers = "retry" if found.completed_at is not None else "nothing" if found.closed else "cancel"
        if offers not in ("cancel", offered):  # replacing the cancel form would lose what was typed
            yield live.Message("buttons", request.fragment("batches/buttons.html", **values))
            offered = offers
        if found.completed_at is not None:
            yield live.Message("over", "")


@pages.change(_BATCH + "/cancel", to=_BATCH, scope=Scope.RUNS_WRITE)
async def cancel(request: PageRequest, project: Project) -> str:
    reason = request.form.one("reason").replace("\0", "")
    if len(reason) > limits.error_message_chars_max:
        most = limits.error_message_chars_max
        raise Error("INVALID_REQUEST", f"A reason has at most {most:,} characters")
    changed = await commands.cancel(*request.named(project), reason or None)
    return "The batch was cancelled." if changed.accepted else f"The batch is already {changed.batch.status}."


@pages.change(_BATCH + "/retry", to=_BATCHES, scope=Scope.RUNS_WRITE)
async def retry(request: PageRequest, project: Project) -> str | Response:
    """Create a new batch of the failed runs and redirect to it. The form is idempotent."""
    cancelled = request.form.one("cancelled") == "1"
    made = await idempotent(
        request,
        lambda record: commands.retry(*request.named(project), cancelled=cancelled, idempotency=record),
    )
    if made is None:
        return "The new batch was created when the form was first sent."
    count = len(made.runs)
    flash = f"This new batch retries {count:,} run{'' if count == 1 else 's'}."
    return request.redirect_with_flash(flash, to("projects", project.slug, "batches", made.batch.id))
