"""A request to the server and the response to it, as every transport takes and returns them."""

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
    """Returns the value of the Authorization header, asked for each request anew."""

    def header(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Request:
    """`target` is the path and query below the server's URL, quoted. `timeout_s` bounds connecting and each wait to write,
    `read_s` each wait for a part of the response. A `repeatable` request may be sent twice.
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
        """The request line and headers. `host` is the Host header, `path` stands before the target.

        httpx2.LocalProtocolError for a header that HTTP cannot carry; its value is not shown.
        """
        target = path + self.target
        if _ILLEGAL_IN_TARGET.search(target):
            target = quote(target, safe="!#$%&'()*+,/:;=?@[]~")
        # Without a word on encodings a server or proxy might choose to compress.
        headers = {"Host": host, "Accept-Encoding": "identity", **self.headers}
        if self.credential is not None:
            headers["Authorization"] = self.credential.header()
        if not isinstance(self.content, Upload) and (self.content is not None or self.method != "GET"):
            headers["Content-Length"] = str(len(self.content or b""))
        lines = [f"{self.method} {target} HTTP/1.1"]
        for name, value in headers.items():
            line = f"{name}: {value}"
            if _ILLEGAL_IN_HEADER.search(line):
                raise httpx2.LocalProtocolError(f"The header {name} holds a character that HTTP cannot carry")
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
    """Both methods raise httpx2.RequestError: ConnectError and ConnectTimeout where nothing was sent."""

    async def request(self, request: Request) -> Response:
        """Send it, and read the whole response."""

    def stream(self, request: Request) -> AbstractAsyncContextManager[tuple[Response, AsyncIterator[bytes]]]:
        """Send it, and read the response's head. The body follows in chunks, or, outside 2xx, is the content."""

    async def aclose(self) -> None: ...


def httpx_arguments(request: Request, url: str, body: Any) -> dict[str, Any]:
    """The arguments of an httpx2 client's `request` and `stream`."""
    return {
        "method": request.method,
        "url": url + request.target,
        "headers": request.headers,
        "content": body,
        "auth": request.credential,
        "timeout": httpx2.Timeout(request.timeout_s, read=request.read_s),
        "follow_redirects": False,
    }
