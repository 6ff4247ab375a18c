"""Requests over ASGI: all that the protocol does not serve itself (`protocol.py`)."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope as AsgiScope, Send

from runstead.http.framework.body import Disconnected, read_body
from runstead.http.framework.endpoint import Answer, Endpoint
from runstead.http.framework.origin import origin_of
from runstead.http.framework.request import Headers


class AsgiRequest:
    """An `endpoint.Request` over ASGI."""

    __slots__ = ("_receive", "_scope", "headers", "method", "origin", "path", "path_params", "query_string")

    def __init__(self, scope: AsgiScope, receive: Receive, path_params: dict[str, str]) -> None:
        self._scope = scope
        self._receive = receive
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.path_params = path_params
        self.query_string: bytes = scope["query_string"]
        self.headers: Headers = dict(scope["headers"])
        self.origin = origin_of(scope)

    @property
    def scheme(self) -> str:
        return str(self._scope.get("scheme", "http"))

    async def body(self, bytes_max: int) -> bytes:
        return await read_body(self.headers, self._receive, bytes_max)

    async def chunks(self) -> AsyncIterator[bytes]:
        more = True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise Disconnected
            more = message.get("more_body", False)
            if body := message.get("body"):
                yield body

    async def is_disconnected(self) -> bool:
        return await Request(self._scope, self._receive).is_disconnected()


T = TypeVar("T")


async def while_connected(work: Awaitable[T], method: str, receive: Receive) -> T:
    """Await the work of a request that reads, and cancel it when the caller disconnects; then raise Disconnected.

    A write continues: its commit may be under way.
    """
    task = asyncio.current_task()
    if method not in ("GET", "HEAD") or task is None:
        return await work
    watch = asyncio.create_task(_cancel_if_disconnected(task, receive))
    try:
        return await work
    except asyncio.CancelledError:
        if watch.done() and not watch.cancelled() and not task.uncancel():
            raise Disconnected from None
        raise
    finally:
        watch.cancel()


async def _cancel_if_disconnected(task: asyncio.Task[Any], receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    task.cancel()


async def respond(
    endpoint: Endpoint, path_params: dict[str, str], scope: AsgiScope, receive: Receive, send: Send
) -> None:
    """Send the endpoint's answer. Sends nothing if the caller disconnected before its body was complete."""
    try:
        request = AsgiRequest(scope, receive, path_params)
        answer = await while_connected(endpoint.answer(request), scope["method"], receive)
    except Disconnected:
        return
    if isinstance(answer, Answer):
        await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
        await send({"type": "http.response.body", "body": answer.body})
    else:
        await send_response(answer, scope, receive, send)


async def send_response(response: Response, scope: AsgiScope, receive: Receive, send: Send) -> None:
    """Send a response. HEAD gets its headers at once: no body is read, and no stream is followed."""
    if scope["method"] != "HEAD":
        await response(scope, receive, send)
        return
    headers = response.raw_headers
    await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
