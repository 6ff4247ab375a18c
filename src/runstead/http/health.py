"""Is it there, can it commit, how does it fare."""

from typing import Any

import msgspec
from starlette.responses import Response

from runstead.core.errors import Error
from runstead.http.framework.endpoint import Call, Nothing, Reply, Routes
from runstead.ports.metrics import exposition

routes = Routes("Health")


class Health(msgspec.Struct, frozen=True):
    status: str


class Ready(msgspec.Struct, frozen=True):
    """The store has just committed. `leader`: whether this replica leads; `term`: the newest leader's that it knows."""

    status: str
    store: dict[str, Any]
    leader: bool
    term: int


_OK = Reply(200, Health("ok"))


@routes.route("GET", "/healthz", answer=Health, open=True)
async def healthz(call: Call[Nothing, Nothing]) -> Reply:
    """Whether the process answers."""
    return _OK


@routes.route(
    "GET",
    "/readyz",
    answer=Ready,
    open=True,
    errors=("STORE_BUSY", "STORE_UNAVAILABLE", "SHUTTING_DOWN"),
)
async def readyz(call: Call[Nothing, Nothing]) -> Reply:
    """Whether the store can commit; 503 where it cannot, or while the server stops."""
    if call.app.stopping.is_set():
        raise Error("SHUTTING_DOWN", "The server is stopping", retry_after_s=1)
    facts, leader_state = await call.app.store.check(), call.app.leader_state
    return Reply(200, Ready("ready", facts, leader_state.leads, leader_state.term))


@routes.route("GET", "/metrics", answer=None, open=True, media_type="text/plain")
async def metrics(call: Call[Nothing, Nothing]) -> Response:
    """Counters for Prometheus, of all processes of the server."""
    text = exposition(call.app.store.facts(), call.app.leader_state)
    if call.app.exposition_of_all is not None:
        text = await call.app.exposition_of_all(text)
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")
