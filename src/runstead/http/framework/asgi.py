"""Requests over ASGI: all that the protocol does not serve itself (`protocol.py`)."""

from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope as AsgiScope, Send

from runstead.http.framework.body import Disconnected, read_body
from runstead.http.framework.endpoint import Answer, Endpoint, Headers
from runstead.http.framework.origin import origin_of


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


async def respond(
    endpoint: Endpoint, path_params: dict[str, str], scope: AsgiScope, receive: Receive, send: Send
) -> None:
    """Send the endpoint's answer. Sends nothing if the caller disconnected before its body was complete."""
    try:
        answer = await endpoint.answer(AsgiRequest(scope, receive, path_params))
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
