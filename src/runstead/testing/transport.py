"""Requests of a test to the server of its testbed, without a port."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import httpx2

_STREAM = "text/event-stream"


class InProcessTransport(httpx2.ASGITransport):
    """Calls the server. A stream is answered when it has ended: `settle` lets its runs continue until then."""

    def __init__(self, app: Any, settle: Callable[[], Awaitable[None]], real_timeout_s: float) -> None:
        super().__init__(app, raise_app_exceptions=False)
        self._settle = settle
        self._real_timeout_s = real_timeout_s

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if request.headers.get("accept") != _STREAM:
            return await super().handle_async_request(request)
        responding = asyncio.ensure_future(super().handle_async_request(request))
        try:
            await self._settle()
            await asyncio.wait([responding], timeout=self._real_timeout_s)
            if not responding.done():
                raise AssertionError(
                    f"The stream {request.url.path} had not ended after {self._real_timeout_s:g} s of real time:"
                    " a test follows a run that can end without it"
                )
            return responding.result()
        finally:
            responding.cancel()


class BlockingTransport(httpx2.BaseTransport):
    """The same for a client that blocks. `loop` is that of the testbed, `run` runs a coroutine in it."""

    def __init__(
        self,
        transport: InProcessTransport,
        loop: asyncio.AbstractEventLoop,
        run: Callable[[Coroutine[Any, Any, httpx2.Response]], httpx2.Response],
    ) -> None:
        self._transport = transport
        self._loop = loop
        self._run = run

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        sending = self._send(
            httpx2.Request(request.method, request.url, headers=request.headers, content=request.read())
        )
        if self._loop.is_running():  # a handler in a thread
            return asyncio.run_coroutine_threadsafe(sending, self._loop).result()
        return self._run(sending)

    async def _send(self, request: httpx2.Request) -> httpx2.Response:
        response = await self._transport.handle_async_request(request)
        stream = httpx2.ByteStream(b"".join([part async for part in response.aiter_raw()]))
        return httpx2.Response(response.status_code, headers=response.headers, stream=stream)
