"""The base of both clients: the server's URL, the credential and timeouts, and how requests are built."""

import copy
import math
import re
import sys
from collections.abc import Callable, Generator
from typing import Any, Final, Self

import httpx2

import runstead
from runstead.sdk import tracing
from runstead.sdk.answers import Answers
from runstead.sdk.models.artifact import Upload
from runstead.sdk.models.value import Codec
from runstead.sdk.routes.call import Call
from runstead.sdk.routes.route import Resource
from runstead.sdk.transport.message import Request
from runstead.sdk.transport.pool import IDLE_MAX, IDLE_S_MAX
from runstead.sdk.transport.retry import Retries
from runstead.sdk.transport.stream_follower import SILENCE_S

_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)

#: A credential, or a function that returns the current one (for tokens that expire).
Key = str | Callable[[], str]

LIMITS: Final = httpx2.Limits(
    max_connections=None, max_keepalive_connections=IDLE_MAX, keepalive_expiry=IDLE_S_MAX
)
_AGENT: Final = {"User-Agent": f"runstead-python/{runstead.__version__}"}


class Bearer(httpx2.Auth):
    """Adds the credential to a request when it is sent. The credential is in no repr."""

    def __init__(self, key: Key) -> None:
        self._key = key

    def header(self) -> str:
        return f"Bearer {self._key if isinstance(self._key, str) else self._key()}"

    def auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        request.headers["Authorization"] = self.header()
        yield request

    def __repr__(self) -> str:
        return "Bearer(***)"


class ClientBase(Answers):
    """Base of both clients: builds requests. The subclasses send them."""

    def __init__(
        self,
        url: str,
        key: Key | None,
        project: str | None,
        timeout_s: float,
        retries: int | Retries,
        codec: Codec | None = None,
    ) -> None:
        parsed = httpx2.URL(url)
        if parsed.scheme not in {"http", "https"} or not parsed.host:
            raise ValueError("The server's url must be like http://127.0.0.1:8720")
        self.project = project
        self.codec = codec
        self._url = url.rstrip("/")
        self._bearer = None if key is None else Bearer(key)
        self._timeout_s = timeout_s
        self._retries = Retries(times=retries) if isinstance(retries, int) else retries
        self._project_ids: dict[str, str] = {}
        self._owns_http = True

    def with_key(self, key: Key) -> Self:
        """Return a client with another credential that shares this client's connections. Closing it closes nothing."""
        other = copy.copy(self)
        for name in [name for name, value in vars(self).items() if isinstance(value, Resource)]:
            delattr(other, name)
        vars(other).update(_bearer=Bearer(key), _owns_http=False)
        return other

    def __repr__(self) -> str:
        url = httpx2.URL(self._url)
        return f"{type(self).__name__}({url.scheme}://{url.netloc.decode()}, project={self.project!r})"

    def _known_project_id(self, ref: str) -> str | None:
        return ref if _UUID.fullmatch(ref) else self._project_ids.get(ref)

    def _request(self, call: Call[Any], content: bytes | Upload | None) -> Request:
        return self._build_request(call, content, self._timeout_s + call.extra_wait_s)

    def _stream_request(self, call: Call[Any], left_s: float = math.inf) -> Request:
        return self._build_request(call, None, min(SILENCE_S, left_s))

    def _build_request(self, call: Call[Any], content: bytes | Upload | None, read_s: float) -> Request:
        headers = call.all_headers() | _AGENT
        if "opentelemetry.trace" in sys.modules:
            headers = tracing.headers() | headers
        return Request(
            method=call.method,
            target=call.target,
            headers=headers,
            content=content,
            credential=self._bearer,
            timeout_s=self._timeout_s,
            read_s=read_s,
            repeatable=call.repeatable,
        )
