"""Decode → call → encode, once for every route."""

import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, Generic, NamedTuple, TypeVar
from urllib.parse import parse_qsl

import msgspec
import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope as AsgiScope, Send

from runstead import limits
from runstead.commands.app import App
from runstead.errors import Error, not_found
from runstead.http.auth import Authenticator
from runstead.http.body import Disconnected, decode_body, decode_query, read_body
from runstead.http.problems import problem, shown
from runstead.principal import Principal
from runstead.seal import Replay, Seal

log = structlog.get_logger(__name__)

_encode = msgspec.json.Encoder().encode
Headers = dict[bytes, bytes]
B = TypeVar("B")
Q = TypeVar("Q")
R = TypeVar("R")


class Nothing(msgspec.Struct, frozen=True):
    """No members: the body or query of a route that takes none."""


_nothing: Final = Nothing()


class Reply(NamedTuple):
    """An answer: its status, its value, its headers."""

    status: int
    value: Any
    headers: dict[str, str] = {}  # noqa: RUF012 - never changed


class Call(Generic[B, Q]):
    """One request, as a handler gets it."""

    __slots__ = (
        "_headers",
        "_receive",
        "_scope",
        "_server",
        "app",
        "body",
        "path",
        "principal",
        "query",
        "raw",
    )

    def __init__(
        self,
        server: "Server",
        scope: AsgiScope,
        receive: Receive,
        headers: Headers,
        principal: Principal,
        query: Q,
        body: B,
        raw: bytes,
    ) -> None:
        self._server = server
        self._scope = scope
        self._receive = receive
        self._headers = headers
        self.app = server.app
        self.principal = principal
        self.path: dict[str, str] = scope["path_params"]
        self.query = query
        self.body = body
        self.raw = raw

    def header(self, name: bytes) -> str | None:
        """A header by its lower-case name."""
        return _text(self._headers, name)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes, of a route that is `streamed`. Disconnected where it breaks off."""
        more = True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise Disconnected
            more = message.get("more_body", False)
            if body := message.get("body"):
                yield body

    async def gone(self) -> bool:
        """Whether the caller has hung up."""
        return await Request(self._scope, self._receive).is_disconnected()

    def forget_credentials(self) -> None:
        """What a credential may do has changed: look it up again."""
        self._server.authenticator.forget()

    async def once(
        self,
        command: Callable[[Seal | None], Awaitable[R]],
        answer: Callable[[R], Reply],
        secret: str | None = None,
    ) -> Reply:
        """Run the command; under an Idempotency-Key, at most once, its answer stored with its effect. A `secret` in
        the answer is shown once and never stored: a replay holds null in its place.
        """
        key = self.header(b"idempotency-key")
        if key is None:
            return answer(await command(None))
        if not 1 <= len(key) <= limits.idempotency_key_chars_max:
            raise Error(
                "INVALID_REQUEST",
                f"Idempotency-Key must have 1 to {limits.idempotency_key_chars_max} characters",
            )
        in_use, name = self._server.in_use, (self.principal.identity, key)
        if name in in_use:
            raise Error(
                "IDEMPOTENCY_KEY_IN_USE", "A request with this Idempotency-Key is still being worked on"
            )
        in_use.add(name)
        try:
            return answer(await command(self._seal(key, answer, secret)))
        finally:
            in_use.discard(name)

    def _seal(self, key: str, answer: Callable[[R], Reply], secret: str | None) -> Seal:
        scope = self._scope
        told = f"{scope['method']} {scope['path']}?".encode() + scope["query_string"] + b"\n" + self.raw

        def render(result: R) -> tuple[int, bytes]:
            reply = answer(result)
            body = _encode(reply.value)
            if secret is not None:
                body = body.replace(_encode(secret), b"null")
            return reply.status, body

        return Seal(self.principal.identity, key, hashlib.sha256(told).digest(), render)


Handler = Callable[[Call[Any, Any]], Awaitable[Reply | Response]]


class Operation(NamedTuple):
    """A route with all that its documentation and its decoding need."""

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
    open: bool  # needs no credential
    media_type: str
    keyed: bool  # takes an Idempotency-Key
    streamed: bool = False  # its body is no JSON, and may be of any size: the handler reads it


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
        open: bool = False,  # noqa: A002 - what it is
        media_type: str = "application/json",
        keyed: bool | None = None,
        streamed: bool = False,
    ) -> Callable[[Handler], Handler]:
        """Register a handler. Its docstring's first line is the summary; `errors` are the codes of its own. POST and PATCH
        take an Idempotency-Key, unless `keyed` says otherwise.
        """

        def register(handler: Handler) -> Handler:
            summary = (handler.__doc__ or "").strip().split("\n\n")[0].replace("\n", " ")
            assert summary, f"{method} {path} has no docstring"
            self.operations.append(
                Operation(
                    method,
                    path,
                    handler,
                    " ".join(summary.split()),
                    self.tag,
                    body,
                    query,
                    answer,
                    status,
                    errors,
                    open,
                    media_type,
                    method in {"POST", "PATCH"} if keyed is None else keyed,
                    streamed,
                )
            )
            return handler

        return register


class Server:
    """What every endpoint shares."""

    def __init__(self, app: App, authenticator: Authenticator) -> None:
        self.app = app
        self.authenticator = authenticator
        self.in_use: set[tuple[str, str]] = set()  # (caller, idempotency key) of requests under way


_NOBODY: Final = Principal("user", "", {})


class Endpoint:
    """All methods of one path, as an ASGI application. Starlette has put the path's parts into the scope."""

    def __init__(self, server: Server, operations: dict[str, Operation]) -> None:
        self._server = server
        self._operations = operations

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        response: Response | Reply
        try:
            response = await self._respond(scope, receive)
        except Error as error:
            response = problem(error, shown(scope["path"]))
        except Disconnected:
            return
        except Exception:
            path = shown(scope["path"])
            log.exception("request failed", method=scope["method"], path=path)
            response = problem(Error("INTERNAL", "Something went wrong here; it was logged"), path)
        if isinstance(response, Reply):
            await _send(send, response)
        else:
            await response(scope, receive, send)

    async def _respond(self, scope: AsgiScope, receive: Receive) -> Response | Reply:
        operation = self._operations.get(scope["method"])
        if operation is None:
            allowed = ", ".join(sorted(self._operations))
            refusal = Error("METHOD_NOT_ALLOWED", f"{scope['method']} is not allowed here; {allowed} is")
            return problem(refusal, shown(scope["path"]), {"Allow": allowed})
        headers: Headers = dict(scope["headers"])
        principal = _NOBODY
        if not operation.open:
            principal = await self._server.authenticator.authenticate(
                _text(headers, b"authorization"), _text(headers, b"x-api-key")
            )
        for name, value in scope["path_params"].items():
            _check_name(name, value)
        raw = b"" if operation.method == "GET" or operation.streamed else await read_body(scope, receive)
        body = _NOTHING if operation.body is Nothing else decode_body(raw, operation.body)
        query = _nothing
        if operation.query is not Nothing:
            pairs = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
            query = decode_query(pairs, operation.query)
        call: Call[Any, Any] = Call(self._server, scope, receive, headers, principal, query, body, raw)
        try:
            return await operation.handler(call)
        except Replay as stored:
            return Reply(stored.status, msgspec.Raw(stored.body), {"Idempotent-Replayed": "true"})


def _text(headers: Headers, name: bytes) -> str | None:
    value = headers.get(name)
    return None if value is None else value.decode("latin-1")


async def _send(send: Send, reply: Reply) -> None:
    """Nearly every answer goes through here, so it is spelled out where a Response would be built for it."""
    body = _encode(reply.value)
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    headers += [(name.lower().encode(), value.encode("latin-1")) for name, value in reply.headers.items()]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


_NOTHING: Final = Nothing()

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


def _check_name(name: str, value: str) -> None:
    """What cannot be a name is refused before anything is looked up under it."""
    if name == "run_id" and len(value) > limits.run_id_chars_max:
        raise Error("INVALID_REQUEST", f"A run id has 1 to {limits.run_id_chars_max} characters")
    if len(value) > limits.name_chars_max:
        raise not_found("What the path names")
    if _CONTROL.search(value):
        raise Error("INVALID_REQUEST", f"{name} holds a control character")
