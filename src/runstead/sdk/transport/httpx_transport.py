"""Sends requests through an httpx2 client: behind a proxy, or with the caller's own transport or client."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2

from runstead.sdk.models.artifact import Upload
from runstead.sdk.transport.message import Request, Response, from_httpx, httpx_arguments


class HttpxTransport:
    """A `Transport` over an httpx2 client. Closing it closes the client."""

    def __init__(self, http: httpx2.AsyncClient, url: str) -> None:
        self._http = http
        self._url = url

    async def request(self, request: Request) -> Response:
        response = await self._http.request(**self._arguments(request))
        return from_httpx(response, response.content)

    @asynccontextmanager
    async def stream(self, request: Request) -> AsyncIterator[tuple[Response, AsyncIterator[bytes]]]:
        async with self._http.stream(**self._arguments(request)) as response:
            content = b"" if response.is_success else await response.aread()
            yield from_httpx(response, content), response.aiter_bytes()

    async def aclose(self) -> None:
        await self._http.aclose()

    def _arguments(self, request: Request) -> dict[str, Any]:
        body = request.content
        return httpx_arguments(request, self._url, body.async_chunks() if isinstance(body, Upload) else body)
