"""Health checks and metrics: `/healthz`, `/readyz` and `/metrics`."""

from typing import Any

import msgspec
from starlette.responses import Response

from runstead.commands import system
from runstead.http.framework.endpoint import Call, Nothing, Reply, Routes
from runstead.ports.store_metrics import without_names

routes = Routes("Health")


class Health(msgspec.Struct, frozen=True):
    status: str


class Ready(msgspec.Struct, frozen=True):
    """The store committed. `leader`: this replica leads. `term`: the newest leader's term that it knows."""

    status: str
    store: dict[str, Any]
    leader: bool
    term: int


_OK = Reply(200, Health("ok"))


@routes.route("GET", "/healthz", answer=Health, open=True)
async def healthz(call: Call[Nothing, Nothing]) -> Reply:
    """Check that the process answers."""
    return _OK


@routes.route(
    "GET", "/readyz", answer=Ready, open=True, errors=("STORE_BUSY", "STORE_UNAVAILABLE", "SHUTTING_DOWN")
)
async def readyz(call: Call[Nothing, Nothing]) -> Reply:
    """Check that the store can commit. Answers 503 if it cannot, or while the server stops."""
    facts, leader_state = await system.readiness(call.app), call.app.leader_state
    return Reply(200, Ready("ready", facts, leader_state.leads, leader_state.term))


@routes.route("GET", "/metrics", answer=None, open=True, media_type="text/plain")
async def metrics(call: Call[Nothing, Nothing]) -> Response:
    """Get metrics of all processes of the server in Prometheus' text format.

    Projects and targets are named to callers with the scope `system`, and summed as `(all)` for others.
    """
    text = await system.exposition(call.app)
    caller = await call.caller()
    if caller is None or not caller.system:
        text = without_names(text)
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")
