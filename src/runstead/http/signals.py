"""Signals to a run: sent, and listed."""

from functools import partial
from typing import Any

import msgspec

from runstead.commands import signals as commands
from runstead.core import limits
from runstead.core.runs.signal import SignalName
from runstead.http.answers import page_of
from runstead.http.arguments import on_run
from runstead.http.framework.endpoint import Call, Nothing, Reply, Routes
from runstead.http.framework.list_page import fitted, paged
from runstead.http.framework.values import Count, IdempotencyKey, PageLimit
from runstead.http.framework.views import Json, Timestamp, view_of
from runstead.http.runs import MISSING, WRITE, InProject
from runstead.ports.store import Written

routes = Routes("Runs")


class SendSignal(msgspec.Struct, frozen=True, kw_only=True):
    """A signal: `payload` is any JSON value, at most 256 KiB. A repeat with the same `idempotency_key` sends nothing."""

    name: SignalName
    payload: Any = None
    idempotency_key: IdempotencyKey | None = None


class SentSignal(msgspec.Struct, frozen=True):
    id: str
    name: str
    created_at: Timestamp


class SignalAnswer(msgspec.Struct, frozen=True):
    """`delivered`: the run has taken it. Otherwise it is kept until the run waits for an event of its name."""

    signal: SentSignal
    delivered: bool
    duplicate: bool


@routes.route(
    "POST",
    "/runs/{run_id}/signals",
    body=SendSignal,
    query=InProject,
    answer=SignalAnswer,
    status=202,
    errors=(*WRITE, "RUN_NOT_ACTIVE", "SIGNALS_FULL", "IDEMPOTENCY_KEY_REUSED", "EVENT_LOG_FULL"),
)
async def send(call: Call[SendSignal, InProject]) -> Reply:
    """Send a signal to a run, which takes it once: now if it waits for it, or when it does."""
    body = call.body
    new = commands.NewSignal(
        name=body.name, payload=msgspec.json.encode(body.payload), key=body.idempotency_key
    )

    def answer(written: Written) -> Reply:
        signal = written.transition.signal
        assert signal is not None
        sent = view_of(SentSignal, signal)
        taken = signal.taken_at is not None
        return Reply(202, SignalAnswer(sent, delivered=taken, duplicate=written.transition.duplicate))

    return await call.idempotent(lambda record: commands.send(*on_run(call), new, record), answer)


class SignalsQuery(InProject, frozen=True, kw_only=True):
    """`taken`: only signals that the run has taken, or only those that it has not. `cursor` is `page_info.next`."""

    taken: bool | None = None
    cursor: Count = 0
    limit: PageLimit = limits.page_rows_default


class SignalView(msgspec.Struct, frozen=True):
    """A signal. The event `event_id` gave it to the run at `taken_at`; null: the run has not taken it."""

    id: str
    name: str
    payload: Json
    created_at: Timestamp
    taken_at: Timestamp | None
    event_id: int | None


SignalList = page_of("SignalList", SignalView)
_view = partial(view_of, SignalView)


@routes.route("GET", "/runs/{run_id}/signals", query=SignalsQuery, answer=SignalList, errors=MISSING)
async def signals(call: Call[Nothing, SignalsQuery]) -> Reply:
    """List the signals of a run, oldest first."""
    query = call.query
    found = await commands.of_run(*on_run(call), query.cursor, query.limit, taken=query.taken)
    return Reply(200, paged(fitted(found, _view), query.cursor, lambda last: last.number))
