"""The request and the response that every transport takes and returns."""

import re
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Final, Protocol
from urllib.parse import quote

import httpx2

from runstead.sdk.models.artifact import Upload

_ILLEGAL_IN_HEADER: Final = re.compile(r"[^\t\x20-\x7e]")
_ILLEGAL_IN_TARGET: Final = re.compile(r"[^\x21-\x7e]")


class Credential(Protocol):
    """Returns the value of the Authorization header. It is called for each request."""

    def header(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request.

    `target` is the quoted path and query, relative to the server's URL. `timeout_s` bounds connecting and each write,
    `read_s` each read. A `repeatable` request may be sent twice.
    """

    method: str
    target: str
    headers: dict[str, str] = field(repr=False)
    content: bytes | Upload | None = field(repr=False)
    credential: Credential | None
    timeout_s: float
    read_s: float
    repeatable: bool

    def head(self, host: str, path: str) -> bytes:
        """Return the request line and headers. `host` is the Host header, `path` is prepended to the target.

        Raise httpx2.LocalProtocolError for a header with characters that HTTP does not allow, without its value.
        """
        target = path + self.target
        if _ILLEGAL_IN_TARGET.search(target):
            target = quote(target, safe="!#$%&'()*+,/:;=?@[]~")
        # Without Accept-Encoding a server or proxy may compress the response.
        headers = {"Host": host, "Accept-Encoding": "identity", **self.headers}
        if self.credential is not None:
            headers["Authorization"] = self.credential.header()
        if not isinstance(self.content, Upload) and (self.content is not None or self.method != "GET"):
            headers["Content-Length"] = str(len(self.content or b""))
        lines = [f"{self.method} {target} HTTP/1.1"]
        for name, value in headers.items():
            line = f"{name}: {value}"
            if _ILLEGAL_IN_HEADER.search(line):
                raise httpx2.LocalProtocolError(
                    f"The header {name} holds a character that HTTP does not allow"
                )
            lines.append(line)
        lines.append("\r\n")
        return "\r\n".join(lines).encode("ascii")


@dataclass(frozen=True, slots=True)
class Response:
    """`headers` have lowercase names. `content` is empty where the body is streamed."""

    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300


def from_httpx(response: httpx2.Response, content: bytes) -> Response:
    return Response(response.status_code, dict(response.headers), content)


class Transport(Protocol):
    """Sends requests. Both methods raise httpx2.RequestError; ConnectError and ConnectTimeout where nothing was sent."""

    async def request(self, request: Request) -> Response:
        """Send a request, and read the whole response."""

    def stream(self, request: Request) -> AbstractAsyncContextManager[tuple[Response, AsyncIterator[bytes]]]:
        """Send a request, and read the response's head.

        The body is yielded in chunks. Outside 2xx it is the response's content instead.
        """

    async def aclose(self) -> None: ...


def httpx_arguments(request: Request, url: str, body: Any) -> dict[str, Any]:
    """Return the arguments for an httpx2 client's `request` and `stream`."""
    return {
        "method": request.method,
        "url": url + request.target,
        "headers": request.headers,
        "content": body,
        "auth": request.credential,
        "timeout": httpx2.Timeout(request.timeout_s, read=request.read_s),
        "follow_redirects": False,
    }
