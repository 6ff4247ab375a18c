"""The ASGI application with all routes."""

import time
from math import inf
from typing import Final

from starlette.types import Message, Receive, Scope as AsgiScope, Send

from runstead.commands.app import App
from runstead.core.errors import Error
from runstead.http import (
    alerts,
    artifacts,
    audit,
    batches,
    budgets,
    bulk_jobs,
    bus_events,
    compensations,
    concurrency,
    conversations,
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
    quotas,
    records,
    retries,
    run_pages,
    run_tokens,
    runs,
    schedules,
    sessions,
    signals,
    snapshot,
    source_schedules,
    stream,
    targets,
    triggers,
    values,
    waits,
    webhooks,
    worker_channel,
    workers,
)
from runstead.http.auth.authenticator import Authenticator
from runstead.http.framework import access_log
from runstead.http.framework.asgi import respond
from runstead.http.framework.endpoint import Operation, Server
from runstead.http.framework.origin import origin_of
from runstead.http.framework.problems import problem
from runstead.http.framework.router import Router
from runstead.http.openapi import routes
from runstead.ports import metrics

#: Modules with routes, in the order of the documentation.
NOUNS: Final = (
    events,
    event_pages,
    runs,
    worker_channel,
    workers,
    waits,
    retries,
    signals,
    targets,
    compensations,
    values,
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
    alerts,
    concurrency,
    prices,
    batches,
    bulk_jobs,
    bus_events,
    budgets,
    source_schedules,
    notifications,
    push_services,
    run_tokens,
    projects,
    quotas,
    audit,
    health,
    routes,
)


def operations() -> list[Operation]:
    return [operation for noun in NOUNS for operation in noun.routes.operations]


class HttpApp:
    """The ASGI application. It never redirects, and every error is a problem (RFC 9457)."""

    def __init__(self, app: App, authenticator: Authenticator, logged_s: float = inf) -> None:
        self._logged_s = logged_s
        server = Server(app, authenticator, logged_s)
        self.admission = server.admission
        self.router = Router(server, operations())

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1000})
            return
        began = time.perf_counter()
        status, size = 500, 0

        async def send_and_record(message: Message) -> None:
            nonlocal status, size
            if message["type"] == "http.response.start":
                status = message["status"]
            elif scope["method"] != "HEAD":  # the server sends no body then
                size += len(message.get("body", b""))
            await send(message)

        # An encoded slash is part of a name, but the router would split there. No id contains one.
        if b"%2f" in scope.get("raw_path", b"").lower():
            refusal = Error("NOT_FOUND", "No name in a path contains a slash")
            await problem(refusal, scope["path"], origin_of(scope).request_id)(scope, receive, send)
            return
        found = self.router.find(scope["path"])
        if found is None:
            refusal = Error("NOT_FOUND", "The path does not exist: see /docs")
            await problem(refusal, scope["path"], origin_of(scope).request_id)(
                scope, receive, send_and_record
            )
        else:
            await respond(*found, scope, receive, send_and_record)
        path = found[0].path if found is not None else "unknown"
        took_s = time.perf_counter() - began
        metrics.count(path, scope["method"], status, took_s)
        if took_s >= self._logged_s:
            access_log.write(scope["method"], path, status, took_s, size, origin_of(scope).request_id)
