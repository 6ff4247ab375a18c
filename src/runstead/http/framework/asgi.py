"""A request that came over ASGI, and its answer back: whatever the protocol does not serve by itself (`protocol.py`)."""

from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.types import Receive, Scope as AsgiScope, Send

from runstead.http.framework.body import Disconnected, read_body
from runstead.http.framework.endpoint import Answer, Endpoint, Headers


class AsgiRequest:
    """See `endpoint.Request`."""

    __slots__ = ("_receive", "_scope", "headers", "method", "path", "path_params", "query_string")

    def __init__(self, scope: AsgiScope, receive: Receive, path_params: dict[str, str]) -> None:
        self._scope = scope
        self._receive = receive
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.path_params = path_params
        self.query_string: bytes = scope["query_string"]
        self.headers: Headers = dict(scope["headers"])

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

    async def gone(self) -> bool:
        return await Request(self._scope, self._receive).is_disconnected()


async def respond(
    endpoint: Endpoint, path_params: dict[str, str], scope: AsgiScope, receive: Receive, send: Send
) -> None:
    """Answer with the endpoint; not at all where the caller went away before its body was here."""
    try:
        answer = await endpoint.answer(AsgiRequest(scope, receive, path_params))
    except Disconnected:
        return
    if isinstance(answer, Answer):
        await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
        await send({"type": "http.response.body", "body": answer.body})
    else:
        await answer(scope, receive, send)
