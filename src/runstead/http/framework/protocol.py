"""HTTP/1.1: uvicorn's protocol with limits on what is read, and a fast path for plain JSON.

A request for a plain route (`Operation.plain`) with a small body that is not chunked is routed, answered and
sent here, with one write. All other requests go through uvicorn over ASGI. Both paths call the same
`endpoint.py`.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from functools import lru_cache
from typing import Any, Final

import httptools
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from runstead.core import limits
from runstead.core.errors import Error
from runstead.core.identity.principal import Origin
from runstead.http.framework import access_log
from runstead.http.framework.body import too_large
from runstead.http.framework.connections import Connections, Deadline
from runstead.http.framework.endpoint import Answer, Endpoint
from runstead.http.framework.origin import SCOPE_KEY, request_id
from runstead.http.framework.problems import problem
from runstead.http.framework.refused import Refused, UnusedEvent
from runstead.http.framework.request import Headers
from runstead.http.framework.router import Router
from runstead.http.framework.sse import SEND_BUFFER_KEY
from runstead.http.framework.write_deadline import WriteDeadline
from runstead.ports import metrics

_BETWEEN, _HEADER, _BODY = range(3)  # the part of a request that is being read

#: Headers with which a request is not plain.
_NOT_PLAIN: Final = (b"transfer-encoding", b"expect", b"upgrade")


class Protocol(WriteDeadline):
    """One connection."""

    def __init__(
        self, router: Router, connections: Connections, *, cross_origin: bool = False, **options: Any
    ) -> None:
        """With `cross_origin`, requests with an Origin header go over ASGI, where `cors.py` handles them."""
        super().__init__(**options)
        self._router = router
        self._guard = connections
        self._not_plain = (*_NOT_PLAIN, b"origin") if cross_origin else _NOT_PLAIN
        self._deadline: Deadline | None = None
        self._phase = _BETWEEN
        self._active: RequestResponseCycle | Exchange | Refused | None = None  # the next answer to be sent
        self._refused = False  # if set, received data is discarded
        self._last = False  # the server stops: the current request is the last one
        self._read = 0  # size of the read that is being parsed
        self._unparsed = 0  # bytes read since a header or a piece of a body was complete
        self._tail = 0  # upper bound of the header's bytes in the read in which it began
        self._grown = 0  # bytes of the body since its deadline started
        self._peer: str | None = None  # the address of the other end
        self._proxied = False  # if set, the peer is a trusted proxy

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._peer = self.client[0] if self.client else None
        self._proxied = self._guard.proxies.trust(self._peer)
        refusal = self._guard.admit(self, self._peer)
        if refusal is None:
            self._set_deadline(self._guard.header)
        else:
            self._refuse(refusal)  # sent before any request

    def _origin_of(self, lines: list[tuple[bytes, bytes]], headers: Headers) -> Origin:
        """Return the origin of a request with these header lines. `headers` are the same by their names."""
        address = self._peer
        if self._proxied:
            address = self._guard.proxies.caller(address, lines)
        return Origin(address, request_id(headers.get(b"x-request-id")))

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave()
        active = self._active
        # The active request need not be the newest one, which uvicorn notifies.
        if active is not None and not active.response_complete:
            active.disconnected = True
            active.message_event.set()
            if type(active) is Exchange:
                active.hang_up()
        super().connection_lost(exc)

    def _leave(self) -> None:
        self._set_deadline(None)
        self._guard.leave(self)

    def _set_deadline(self, deadline: Deadline | None) -> None:
        """Start another deadline, or none. The current one continues if it is the same."""
        if deadline is self._deadline:
            return
        if self._deadline is not None:
            del self._deadline.since[self]
        self._deadline = deadline
        if deadline is not None:
            deadline.since[self] = self.loop.time()

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        self._read = len(data)
        self._unparsed += self._read
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._unsupported_upgrade_warning()
        except httptools.HttpParserError as error:
            refusal = error.__context__
            self._refuse(refusal if isinstance(refusal, Error) else None)
            return
        if self._unparsed > limits.header_bytes_max:
            self._refuse(_headers_too_large())
        elif self._phase == _BODY:
            self._set_deadline(self._guard.body)
        elif self._answering():
            self._set_deadline(None)
        elif self._phase == _HEADER:
            self._set_deadline(self._guard.header)

    def _answering(self) -> bool:
        return self._active is not None and not self._active.response_complete

    # Callbacks of the parser. An Error ends the parsing and is sent as the answer.

    def on_message_begin(self) -> None:
        self.url = b""
        self.headers = []
        self.expect_100_continue = False
        self._phase = _HEADER
        self._tail = 0 if self._unparsed else self._read

    def on_url(self, url: bytes) -> None:
        self.url += url
        if len(self.url) > limits.url_bytes_max:
            raise Error("URL_TOO_LONG", f"The URL is longer than {limits.url_bytes_max // limits.KIB} KiB")

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._phase != _HEADER:  # trailers are ignored
            return
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        # The sum is an upper bound: it may include bytes of the body, so the exact size is computed.
        if self._unparsed + self._tail > limits.header_bytes_max:
            size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            if size > limits.header_bytes_max:
                raise _headers_too_large()
        self._phase = _BODY
        self._unparsed = self._grown = 0
        headers = dict(self.headers)
        if b"expect" in headers:
            self.expect_100_continue = headers[b"expect"].lower() == b"100-continue"
        self._origin = self._origin_of(self.headers, headers)
        if not self._begin_plain(headers):
            self._begin_asgi()

    def _begin_plain(self, headers: Headers) -> bool:
        """Begin a plain request. Returns False if the request is not plain."""
        url = self.url
        raw_path, _, query = url.partition(b"?")
        if (
            self._answering()
            or not (url.startswith(b"/") and url.isascii())
            or b"%" in raw_path
            or b"#" in url
        ):
            return False
        path = raw_path.decode("ascii")
        found = self._router.find(path)
        if found is None:
            return False
        endpoint, path_params = found
        method = self.parser.get_method().decode("ascii")
        if method not in endpoint.plain or (query and endpoint.may_stream(method, query)):
            return False
        for name in self._not_plain:
            if name in headers:
                return False
        if int(headers.get(b"content-length", 0)) > limits.plain_body_bytes_max:
            return False
        if self.parser.get_http_version() != "1.1":
            return False
        keep_alive = self.parser.should_keep_alive() and not self._last
        refusal = endpoint.early(method, headers)
        if refusal is not None:
            refused: Any = Refused(self, endpoint, method, path, self._origin, refusal, keep_alive)
            self.cycle = self._active = refused
            return True
        exchange: Any = Exchange(
            protocol=self,
            endpoint=endpoint,
            method=method,
            path=path,
            path_params=path_params,
            query_string=query,
            headers=headers,
            origin=self._origin,
            keep_alive=keep_alive,
        )
        self.cycle = self._active = exchange
        return True

    def _begin_asgi(self) -> None:
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()  # creates the scope, which a plain request does not need
        self.url, self.expect_100_continue = url, expects
        self.headers = self.scope["headers"] = headers
        scope: Any = self.scope
        scope[SCOPE_KEY] = self._origin
        scope[SEND_BUFFER_KEY] = self.shrink_send_buffer
        super().on_headers_complete()
        request_id = (self._origin.request_id or "").encode("ascii")
        self.cycle.default_headers = [*self.cycle.default_headers, (b"x-request-id", request_id)]
        if self._last:
            self.cycle.keep_alive = False

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._active = cycle
        super()._start_asgi_task(cycle, app)

    def on_body(self, body: bytes) -> None:
        self._unparsed = 0
        self._grown += len(body)
        cycle: Any = self.cycle
        if type(cycle) is Exchange:
            cycle.parts.append(body)
        elif type(cycle) is not Refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._phase = _BETWEEN
        self._unparsed = 0
        cycle: Any = self.cycle
        if type(cycle) is Exchange:
            # `run` takes the task out again: a callback would cost each request a turn of the event loop.
            cycle.task = self.loop.create_task(cycle.run())
            self.tasks.add(cycle.task)
        elif type(cycle) is Refused:
            cycle.send()
        else:
            super().on_message_complete()

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self._phase != _BODY and not self._refused:
            self._set_deadline(self._guard.idle if self._phase == _BETWEEN else self._guard.header)

    # Deadlines, refusals and shutdown.

    def expired(self) -> None:
        guard, deadline = self._guard, self._deadline
        if deadline is guard.refused:
            self.transport.abort()
        elif deadline is guard.idle or (deadline is guard.header and self._phase == _BETWEEN):
            self.close()
        elif deadline is guard.header:
            self._refuse(_late(f"The header was not complete within {guard.header.seconds:g} seconds"))
        elif self.cycle is not None and self.cycle.response_complete:
            self.close()  # answered before its body was complete: the rest is only discarded
        elif self.flow.read_paused or self._grown >= limits.body_bytes_per_s_min * guard.body.seconds:
            self._grown = 0  # the body arrives fast enough, or this server paused reading
            self._set_deadline(None)
            self._set_deadline(guard.body)
        else:
            self._refuse(
                _late(
                    f"The body was not complete within {guard.body.seconds:g} seconds, and arrived too slowly"
                )
            )

    def shutdown(self) -> None:
        """Stop the connection after its current request.

        A new connection or a started header may still send its request, because closing it would reset the
        connection. A connection that is idle between two requests is closed.
        """
        if self._refused or (self._active is not None and self._phase != _HEADER):
            super().shutdown()
        else:
            self._last = True
            self.loop.call_later(limits.last_request_s, self._give_up)

    def _give_up(self) -> None:
        if not self._answering() and self._phase != _BODY:
            self.close()

    def close(self) -> None:
        self._leave()
        # An unread answer would keep the connection open.
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            self.transport.close()

    def _refuse(self, refusal: Error | None) -> None:
        """Answer with this error and end the connection. None: the data is not HTTP."""
        self._refused = True
        self.pipeline.clear()
        active = self._active
        if active is not None and not active.response_complete:
            started = isinstance(active, RequestResponseCycle) and active.response_started
            if active is not self.cycle or self._phase != _BODY or started:
                active.keep_alive = False  # its answer is being sent, and is the last one
                self._set_deadline(None)
                return
            active.response_complete = active.disconnected = True
            active.message_event.set()
        elif self._phase == _BODY and self.cycle is not None:  # answered before its body was complete
            self.close()
            return
        refusal = refusal or Error("INVALID_REQUEST", "The request is not HTTP/1.1 (RFC 9112)")
        metrics.refused_connections.labels(refusal.code).inc()
        if self._phase == _BODY:
            path, origin = self.url.partition(b"?")[0].decode("latin-1"), self._origin
        else:
            lines = self.headers if self._phase == _HEADER else []
            path, origin = "/", self._origin_of(lines, dict(lines))
        answer = _answer(problem(refusal, path, origin.request_id))
        self.write(answer, answer.body, origin, keep_alive=False)
        self._guard.leave(self)
        if not self._guard.may_linger():
            self.close()
            return
        if self.transport.can_write_eof():
            # Closing with unread bytes resets the connection, and the answer may be lost.
            self.transport.write_eof()
            self.flow.resume_reading()
        else:
            self.transport.close()  # TLS: sends what is buffered, then its own end
        self._set_deadline(self._guard.refused)

    def write(self, answer: Answer, body: bytes, origin: Origin, *, keep_alive: bool) -> None:
        """Send the whole answer with one write. `body` is empty for HEAD."""
        head = b"".join([b"%b: %b\r\n" % line for line in answer.headers])
        if not keep_alive:
            head += b"connection: close\r\n"
        status, default = STATUS_LINE[answer.status], _default_head(tuple(self.server_state.default_headers))
        request_id = (origin.request_id or "").encode("ascii")
        self.transport.write(b"%b%bx-request-id: %b\r\n%b\r\n%b" % (status, default, request_id, head, body))


class Exchange:
    """A plain request: an `endpoint.Request` with the members that uvicorn's protocol reads of a cycle."""

    __slots__ = (
        "_began",
        "_endpoint",
        "_protocol",
        "disconnected",
        "headers",
        "keep_alive",
        "method",
        "origin",
        "parts",
        "path",
        "path_params",
        "query_string",
        "response_complete",
        "task",
    )
    message_event: Final = UnusedEvent()

    def __init__(
        self,
        protocol: Protocol,
        endpoint: Endpoint,
        method: str,
        path: str,
        path_params: dict[str, str],
        query_string: bytes,
        headers: Headers,
        origin: Origin,
        keep_alive: bool,
    ) -> None:
        self._began = time.perf_counter()
        self._protocol = protocol
        self._endpoint = endpoint
        self.method = method
        self.path = path
        self.path_params = path_params
        self.query_string = query_string
        self.headers = headers
        self.origin = origin
        self.keep_alive = keep_alive
        self.parts: list[bytes] = []
        self.response_complete = False
        self.disconnected = False
        self.task: asyncio.Task[None] | None = None

    @property
    def scheme(self) -> str:
        return self._protocol.scheme or "http"

    def hang_up(self) -> None:
        """Stop reading for a caller that has gone. A write continues: its commit may be under way."""
        if self.task is not None and self.method in ("GET", "HEAD"):
            self.task.cancel()
            self._protocol.tasks.discard(self.task)  # it may end before `run` has begun

    async def body(self, bytes_max: int) -> bytes:
        body = b"".join(self.parts)
        if len(body) > bytes_max:
            raise too_large(bytes_max)
        return body

    def chunks(self) -> AsyncIterator[bytes]:
        raise NotImplementedError("a route that streams its body is not plain")

    async def is_disconnected(self) -> bool:
        return self.disconnected or self._protocol.transport.is_closing()

    async def run(self) -> None:
        """Answer the request and send the answer."""
        protocol, status, size = self._protocol, 500, 0
        try:
            answer = await self._endpoint.answer(self)
            if not isinstance(answer, Answer):
                answer = _answer(answer)
            status, size = answer.status, len(answer.body)
            if protocol.flow.write_paused:  # the caller has not read an earlier answer yet
                await protocol.flow.drain()
            self.response_complete = True
            if not self.disconnected:
                body = b"" if self.method == "HEAD" else answer.body
                protocol.write(answer, body, self.origin, keep_alive=self.keep_alive)
                if not self.keep_alive:
                    protocol.transport.close()
                protocol.on_response_complete()
        finally:
            protocol.tasks.discard(self.task)
            if not self.response_complete:  # cancelled by a shutdown
                protocol.transport.close()
        endpoint, took_s = self._endpoint, time.perf_counter() - self._began
        metrics.count(endpoint.path, self.method, status, took_s)
        if took_s >= endpoint.logged_s:
            size = 0 if self.method == "HEAD" else size
            access_log.write(self.method, endpoint.path, status, took_s, size, self.origin.request_id)


def _answer(response: Any) -> Answer:
    """Convert a Response with a complete body."""
    return Answer(response.status_code, response.raw_headers, response.body)


@lru_cache(maxsize=1)  # uvicorn replaces them every second, with the date
def _default_head(lines: tuple[tuple[bytes, bytes], ...]) -> bytes:
    return b"".join([b"%b: %b\r\n" % line for line in lines])


def _headers_too_large() -> Error:
    most = limits.header_bytes_max // limits.KIB
    return Error("HEADERS_TOO_LARGE", f"The request line and the headers are larger than {most} KiB")


def _late(message: str) -> Error:
    return Error("REQUEST_TIMEOUT", message)


assert limits.plain_body_bytes_max <= HIGH_WATER_LIMIT  # larger bodies pause reading
