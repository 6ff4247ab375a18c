"""All routes as one ASGI application."""

import time
from collections.abc import Iterable
from typing import Final

from starlette.routing import Route, Router
from starlette.types import ASGIApp, Message, Receive, Scope as AsgiScope, Send

from runstead import telemetry
from runstead.commands.app import App
from runstead.errors import Error
from runstead.http import (
    artifacts,
    batches,
    concurrency,
    conversations,
    documentation,
    event_pages,
    events,
    families,
    health,
    inputs,
    messages,
    notifications,
    prices,
    projects,
    push_services,
    records,
    run_pages,
    run_tokens,
    runs,
    schedules,
    sessions,
    snapshot,
    source_schedules,
    stream,
    triggers,
    waits,
    webhooks,
    workers,
)
from runstead.http.auth import Authenticator
from runstead.http.endpoint import Endpoint, Operation, Server
from runstead.http.problems import problem, shown

#: In the order in which they are tried: those of every lifecycle first.
NOUNS: Final = (
    events,
    event_pages,  # before runs: it names a path that would be a run's
    runs,
    workers,
    waits,
    records,
    artifacts,
    sessions,
    stream,
    families,
    run_pages,
    conversations,
    messages,
    inputs,
    snapshot,
    schedules,
    webhooks,
    triggers,
    concurrency,
    prices,
    batches,
    source_schedules,
    notifications,
    push_services,
    run_tokens,
    projects,
    health,
    documentation,
)


def operations() -> list[Operation]:
    return [operation for noun in NOUNS for operation in noun.routes.operations]


class HttpApp:
    """The ASGI application. It never redirects, and every refusal is a problem."""

    def __init__(self, app: App, authenticator: Authenticator) -> None:
        server = Server(app, authenticator)
        self._router = _router(operations(), server)

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1000})
            return
        began = time.perf_counter()
        status = 500

        async def note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        # An encoded slash is part of a name for the caller and a border for a router: no id holds one.
        if b"%2f" in scope.get("raw_path", b"").lower():
            await problem(Error("NOT_FOUND", "No name here holds a slash"), shown(scope["path"]))(
                scope, receive, send
            )
            return
        await self._router(scope, receive, note)
        route = scope.get("route")
        path = route.path if route is not None else "unknown"
        telemetry.count(path, scope["method"], status, time.perf_counter() - began)


def _router(found: Iterable[Operation], server: Server) -> Router:
    paths: dict[str, dict[str, Operation]] = {}
    for operation in found:
        methods = paths.setdefault(operation.path, {})
        assert operation.method not in methods, operation.path
        methods[operation.method] = operation
    routes = [Route(path, Endpoint(server, methods)) for path, methods in paths.items()]
    return Router(routes, redirect_slashes=False, default=_nowhere)


async def _nowhere(scope: AsgiScope, receive: Receive, send: Send) -> None:
    refusal = Error("NOT_FOUND", "There is no such path: see /docs")
    response: ASGIApp = problem(refusal, shown(scope["path"]))
    await response(scope, receive, send)
