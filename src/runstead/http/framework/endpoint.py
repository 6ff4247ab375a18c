"""Serve a request of any route: authenticate, decode, call the handler, encode the answer."""

import asyncio
import hashlib
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager
from functools import lru_cache, partial
from math import inf
from typing import Any, Final, Generic, TypeVar

import msgspec
import structlog
from msgspec.structs import replace
from starlette.responses import Response

from runstead.commands.app import App
from runstead.commands.quota_enforcement import Allowance
from runstead.core import limits
from runstead.core.errors import Error, not_found
from runstead.core.idempotency import IdempotencyRecord, ReplayedResponse
from runstead.core.identity.principal import Principal
from runstead.core.identity.tenant import current_request_id
from runstead.http.auth.authenticator import Authenticator
from runstead.http.auth.throttle import Kind
from runstead.http.framework.admission import Admission, lag_s_max
from runstead.http.framework.body import Disconnected, decode_body, parse_query
from runstead.http.framework.compression import compress_response, compressed
from runstead.http.framework.location import Location, member
from runstead.http.framework.problems import problem, redacted
from runstead.http.framework.request import Headers, Request
from runstead.http.framework.request_span import continue_trace, in_span
from runstead.ports import tracing

log = structlog.get_logger(__name__)

_encode = msgspec.json.Encoder().encode
B = TypeVar("B")
Q = TypeVar("Q")
R = TypeVar("R")


class Nothing(msgspec.Struct, frozen=True):
    """No members: the type of the body or query of a route that has none."""


_nothing: Final = Nothing()


class Reply(msgspec.Struct, frozen=True):
    """An answer: its status, its value, its headers."""

    status: int
    value: Any
    headers: dict[str, str] = {}


class Call(Generic[B, Q]):
    """A decoded request, as a handler receives it."""

    __slots__ = ("_request", "_server", "app", "body", "has_secret", "path", "principal", "query", "raw")

    def __init__(
        self, server: "Server", request: Request, principal: Principal, query: Q, body: B, raw: bytes
    ) -> None:
        self._server = server
        self._request = request
        self.app = server.app
        self.principal = principal
        self.path = request.path_params
        self.query = query
        self.body = body
        self.raw = raw
        self.has_secret = False  # if set, the answer carries a secret that was made for it

    def header(self, name: bytes) -> str | None:
        """Return a header by its lower-case name."""
        value = self._request.headers.get(name)
        return None if value is None else value.decode("latin-1")

    def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body of a `streamed` route as it arrives. Raises Disconnected if it ends early."""
        return self._request.chunks()

    async def is_disconnected(self) -> bool:
        """Return whether the caller has disconnected."""
        return await self._request.is_disconnected()

    async def caller(self) -> Principal | None:
        """Return the caller of an open route. None: it sends no credential. Raises UNAUTHENTICATED."""
        headers = self._request.headers
        credential = headers.get(b"authorization"), headers.get(b"x-api-key")
        if credential == (None, None):
            return None
        return await self._server.authenticator.authenticate(credential, self._request.origin.address)

    def forget_credentials(self) -> None:
        """Clear cached credentials, since their rights changed."""
        self._server.authenticator.forget()

    def look_up(self, kind: Kind, secret: str) -> AbstractContextManager[None]:
        """Look a credential of the request up in the body: see `FailureThrottle.look_up`."""
        digest = hashlib.sha256(secret.encode()).digest()
        return self._server.authenticator.throttle.look_up(kind, digest, self.principal.origin.address)

    def idempotency_key(self) -> str | None:
        """Return the Idempotency-Key of the request. INVALID_REQUEST for one that is empty or too long."""
        key = self.header(b"idempotency-key")
        if key is not None and not 1 <= len(key) <= limits.idempotency_key_chars_max:
            raise Error(
                "INVALID_REQUEST",
                f"Idempotency-Key must have 1 to {limits.idempotency_key_chars_max} characters",
            )
        return key

    async def idempotent(
        self,
        command: Callable[[IdempotencyRecord | None], Awaitable[R]],
        answer: Callable[[R], Reply],
        secret: str | None = None,
    ) -> Reply:
        """Run the command and build the answer.

        Under an Idempotency-Key the command runs at most one time, and its answer is stored in its
        transaction. A `secret` in the answer is not stored: a replay has null in its place.
        """
        self.has_secret = secret is not None
        key = self.idempotency_key()
        if key is None:
            return answer(await command(None))
        in_use, name = self._server.in_use, (self.principal.identity, key)
        if name in in_use:
            raise Error("IDEMPOTENCY_KEY_IN_USE", "A request with this Idempotency-Key is still in progress")
        in_use.add(name)
        try:
            return answer(await command(self._idempotency_record(key, answer, secret)))
        finally:
            in_use.discard(name)

    def _idempotency_record(
        self, key: str, answer: Callable[[R], Reply], secret: str | None
    ) -> IdempotencyRecord:
        request = self._request
        content = f"{request.method} {request.path}?".encode() + request.query_string + b"\n" + self.raw

        def render(result: R) -> tuple[int, bytes]:
            reply = answer(result)
            body = _encode(reply.value)
            if secret is not None:
                body = body.replace(_encode(secret), b"null")
            return reply.status, body

        return IdempotencyRecord(self.principal.identity, key, hashlib.sha256(content).digest(), render)


#: Routes that published clients read, which may send any parameter.
_LENIENT: Final = frozenset(
    {
        "/conversations",
        "/conversations/{conversation_id}/input-requests",
        "/conversations/{conversation_id}/messages",
        "/conversations/{conversation_id}/runs/{run_id}/children",
        "/conversations/{conversation_id}/runs/{run_id}/events",
        "/conversations/{conversation_id}/runs/{run_id}/stream",
        "/projects/{project}/runs",
        "/projects/{project}/schedules",
        "/agent-runtimes/push-services",
        "/runs/{run_id}",
        "/runs/{run_id}/children",
        "/runs/{run_id}/events",
        "/runs/{run_id}/stream",
    }
)

Handler = Callable[[Call[Any, Any]], Awaitable[Reply | Response]]


def tag_headers(tag: str) -> dict[str, str]:
    """Return the headers of an answer with an ETag. Caches may store it but must revalidate it."""
    return {"ETag": tag, "Cache-Control": "private, no-cache"}


class Operation(msgspec.Struct, frozen=True):
    """A route, with all that decoding and documentation need."""

    method: str
    path: str
    handler: Handler
    summary: str
    tag: str
    body: type[Any]
    query: type[Any]
    answer: type[Any] | None  # None: not JSON
    status: int
    errors: tuple[str, ...]
    open: bool  # no credential needed
    media_type: str
    keyed: bool  # accepts an Idempotency-Key
    streamed: bool = False  # the handler reads the body, of any type and size
    body_bytes_max: int = limits.body_bytes_max
    location: "Location | None" = None
    tagged: bool = False  # the answer is a run with its ETag
    new_work: bool = False  # it starts runs, and is refused while the server is overloaded
    lag_s_max: float = inf  # of the event loop: above it the request is refused
    warns: bool = False  # members `…_differs` of the answer are named in the header `Runstead-Warning`
    streamed_by: str | None = None  # the query parameter with which the answer may be a stream

    def with_headers(self, reply: Reply) -> Reply:
        """Add the headers that name what is answered. They derive from the answer, so that a replay has them too."""
        value = reply.value
        if isinstance(value, msgspec.Raw):
            value = msgspec.json.decode(value)
        headers = (
            {**reply.headers, **tag_headers(member(value, "etag"))} if self.tagged else {**reply.headers}
        )
        if self.location is not None:
            headers["Location"] = self.location.of(value)
        if self.warns and (differing := [name for name in value if name.endswith("_differs")]):
            headers["Runstead-Warning"] = ", ".join(differing)
        return Reply(reply.status, value, headers)

    @property
    def command(self) -> str:
        """The name of the handler with its noun, such as `runs.create`."""
        return f"{self.handler.__module__.rpartition('.')[2]}.{self.handler.__name__}"

    @property
    def strict(self) -> bool:
        """Return whether unknown query parameters are refused: of lists that published clients do not call."""
        return self.method == "GET" and self.path not in _LENIENT

    @property
    def plain(self) -> bool:
        """Return whether request and answer are whole JSON bodies."""
        return self.answer is not None and self.media_type == "application/json" and not self.streamed


class Routes:
    """The routes of one noun."""

    def __init__(self, tag: str) -> None:
        self.tag = tag
        self.operations: list[Operation] = []

    def route(
        self,
        method: str,
        path: str,
        *,
        answer: type[Any] | None,
        body: type[Any] = Nothing,
        query: type[Any] = Nothing,
        status: int = 200,
        errors: tuple[str, ...] = (),
        open: bool = False,  # noqa: A002 - the member's name
        media_type: str = "application/json",
        keyed: bool | None = None,
        streamed: bool = False,
        body_bytes_max: int = limits.body_bytes_max,
        location: str | None = None,
        tagged: bool = False,
        warns: bool = False,
        new_work: bool = False,
        streamed_by: str | None = None,
    ) -> Callable[[Handler], Handler]:
        """Register a handler.

        The first paragraph of its docstring is the summary, the others are the description.

        `errors` are the route's own error codes. POST and PATCH accept an Idempotency-Key, unless `keyed` is
        set. `location` is the path of a created object, see `Location`. `tagged` answers have an ETag. `new_work`
        starts runs: see `admission.py`.
        """

        def register(handler: Handler) -> Handler:
            summary = (handler.__doc__ or "").strip().split("\n\n")[0].replace("\n", " ")
            assert summary, f"{method} {path} has no docstring"
            self.operations.append(
                Operation(
                    method=method,
                    path=path,
                    handler=handler,
                    summary=" ".join(summary.split()),
                    tag=self.tag,
                    body=body,
                    query=query,
                    answer=answer,
                    status=status,
                    errors=errors,
                    open=open,
                    media_type=media_type,
                    keyed=method in {"POST", "PATCH"} if keyed is None else keyed,
                    streamed=streamed,
                    body_bytes_max=body_bytes_max,
                    location=None if location is None else Location(location),
                    tagged=tagged,
                    warns=warns,
                    new_work=new_work,
                    lag_s_max=lag_s_max(method, path, new_work=new_work, is_open=open),
                    streamed_by=streamed_by,
                )
            )
            return handler

        return register


class Server:
    """State that all endpoints share. `logged_s`: the access log has requests that took as long."""

    def __init__(self, app: App, authenticator: Authenticator, logged_s: float = inf) -> None:
        self.app = app
        self.authenticator = authenticator
        self.logged_s = logged_s
        self.admission = Admission(app.store)
        self.in_use: set[tuple[str, str]] = set()  # (caller, idempotency key) of requests in progress


_ANONYMOUS: Final = Principal("user", "", {})


class Answer(msgspec.Struct, frozen=True):
    """An encoded reply. Names of `headers` are lower-case; the headers of the body are included."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class Endpoint:
    """All methods of one path. HEAD is answered as GET, without the body (RFC 9110, section 9.3.2)."""

    def __init__(self, server: Server, path: str, operations: dict[str, Operation]) -> None:
        self._server = server
        self.logged_s = server.logged_s
        self.path = path
        self.methods = frozenset(operations)  # as documented
        if "GET" in operations:
            operations = {**operations, "HEAD": operations["GET"]}
        self._operations = operations
        self._logs_unavailable_from = 0.0
        self._shed = {name: each for name, each in operations.items() if each.lag_s_max != inf}
        self.plain = frozenset(method for method, operation in operations.items() if operation.plain)
        self._streamed_by = {
            name: each.streamed_by.encode()
            for name, each in operations.items()
            if each.streamed_by is not None
        }
        #: Answers a request, also with an error. Returns a Response if the handler returned one. Raises Disconnected.
        self.answer: Callable[[Request], Awaitable[Answer | Response]] = self._answer
        if tracing.tracer is not None:
            self.answer = partial(in_span, self._answer, path)

    def may_stream(self, method: str, query: bytes) -> bool:
        """Return whether the answer to a plain method may be a stream, which only ASGI sends."""
        parameter = self._streamed_by.get(method)
        return parameter is not None and (parameter in query or b"%" in query)  # it may be percent-encoded

    async def _answer(self, request: Request) -> Answer | Response:
        request_id = request.origin.request_id
        current_request_id.set(request_id)
        if tracing.tracer is None and b"traceparent" in request.headers:
            continue_trace(request.headers)
        try:
            return await self._respond(request)
        except Error as error:
            if error.code == "STORE_UNAVAILABLE":
                self._log_unavailable(error)
            return problem(error, request.path, request_id)
        except Disconnected:
            raise
        except Exception:
            log.exception("request failed", method=request.method, path=redacted(request.path))
            refusal = Error("INTERNAL", "The server failed and logged the error")
            return problem(refusal, request.path, request_id)

    def _log_unavailable(self, error: Error) -> None:
        """Log that the store cannot be used, such as for a full disk: not for each of the many refused requests."""
        if time.monotonic() >= self._logs_unavailable_from:
            self._logs_unavailable_from = time.monotonic() + limits.store_unavailable_log_s
            log.error("the store refused a request", path=self.path, reason=error.message)

    async def _respond(self, request: Request) -> Answer | Response:
        operation = self._operations.get(request.method)
        if operation is None:
            allowed = ", ".join(sorted(self._operations))
            refusal = Error("METHOD_NOT_ALLOWED", f"{request.method} is not allowed here; {allowed} is")
            return problem(refusal, request.path, request.origin.request_id, {"Allow": allowed})
        headers, origin = request.headers, request.origin
        principal = _ANONYMOUS
        if operation.lag_s_max != inf and (overload := self.early(request.method, headers)) is not None:
            raise overload
        if not operation.open:
            credential = headers.get(b"authorization"), headers.get(b"x-api-key")
            principal = await self._server.authenticator.authenticate(credential, origin.address)
        if operation.new_work:
            self._server.admission.check(headers, asyncio.get_running_loop().time())
        principal = replace(principal, origin=origin)  # the authenticator's is shared
        quotas = self._server.app.quotas
        limited = quotas.limit_requests or principal.requests_per_minute is not None
        allowance = quotas.take_request(principal) if limited else None
        for name, value in request.path_params.items():
            _check_name(name, value)
        raw = b""
        if operation.method != "GET" and not operation.streamed:
            raw = await request.body(operation.body_bytes_max)
        body = _nothing if operation.body is Nothing else decode_body(raw, operation.body)
        query = _nothing
        if operation.query is not Nothing:
            query = parse_query(request.query_string, operation.query, strict=operation.strict)
        call: Call[Any, Any] = Call(self._server, request, principal, query, body, raw)
        try:
            if tracing.tracer is None:
                reply = await operation.handler(call)
            else:
                reply = await tracing.command(operation.command, operation.handler, call)
        except ReplayedResponse as stored:
            reply = Reply(stored.status, msgspec.Raw(stored.body), {"Idempotent-Replayed": "true"})
        if not isinstance(reply, Reply):
            if allowance is not None:
                reply.headers.update(_rate_limit(allowance))
            return await compress_response(headers.get(b"accept-encoding"), reply)
        if operation.location is not None or operation.tagged or operation.warns:
            reply = operation.with_headers(reply)
        if allowance is not None:
            reply = replace(reply, headers={**reply.headers, **_rate_limit(allowance)})
        answer = _encoded(reply)
        bytes_min = limits.gzip_bytes_min if operation.method == "GET" else limits.gzip_write_bytes_min
        if len(answer.body) < bytes_min or call.has_secret:
            return answer
        body = await compressed(headers.get(b"accept-encoding"), answer.headers, answer.body, bytes_min)
        return replace(answer, body=body)

    def early(self, method: str, headers: Headers) -> Error | None:
        """Return the refusal of an overloaded server, which needs no more than the headers."""
        operation = self._shed.get(method)
        if operation is None:
            return None
        now, new_work = asyncio.get_running_loop().time(), operation.new_work
        return self._server.admission.early(headers, operation.lag_s_max, now, new_work=new_work)


def _rate_limit(allowance: Allowance) -> dict[str, str]:
    """The fields of draft-ietf-httpapi-ratelimit-headers-10."""
    return {
        "RateLimit-Policy": f'"requests";q={allowance.limit};w=60',
        "RateLimit": f'"requests";r={allowance.remaining};t={allowance.reset_s}',
    }


def _encoded(reply: Reply) -> Answer:
    body = _encode(reply.value)
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    headers += [_line(name, value) for name, value in reply.headers.items()]
    return Answer(reply.status, headers, body)


@lru_cache(maxsize=1_024)  # the entity-tags of most runs are the same
def _line(name: str, value: str) -> tuple[bytes, bytes]:
    if _CONTROL.search(value):
        raise ValueError(f"the header {name} has a control character")
    return name.lower().encode(), value.encode("latin-1")


_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


def _check_name(name: str, value: str) -> None:
    """Refuse malformed names in the path before any look-up."""
    if name == "run_id" and len(value) > limits.run_id_chars_max:
        raise Error("INVALID_REQUEST", f"A run id has 1 to {limits.run_id_chars_max} characters")
    if len(value) > limits.name_chars_max:
        raise not_found("The object of the path")
    if _CONTROL.search(value):
        raise Error("INVALID_REQUEST", f"{name} has a control character")
