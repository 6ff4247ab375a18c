"""HTTP/1.1 as this server speaks it: uvicorn's protocol, with bounds on what is read, and a short way for plain JSON.

A request for a plain route (`Operation.plain`), whose body is small and comes as one, is routed, answered and written here,
with one write. Everything else takes uvicorn's way, over ASGI. What an answer says is decided in `endpoint.py` for both.
"""

import time
from collections.abc import AsyncIterator
from typing import Any, Final

import httptools
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from runstead.core import limits
from runstead.core.errors import Error
from runstead.http.framework.body import too_large
from runstead.http.framework.connections import Connections, Deadline
from runstead.http.framework.endpoint import Answer, Endpoint, Headers
from runstead.http.framework.problems import problem, shown
from runstead.http.framework.router import Router
from runstead.http.framework.write_deadline import WriteDeadline
from runstead.ports import metrics

_BETWEEN, _HEADER, _BODY = range(3)  # what is read: nothing of a request yet, its header, its body

#: What a plain request has not: it takes uvicorn's way.
_NOT_PLAIN: Final = (b"transfer-encoding", b"expect", b"upgrade")


class Protocol(WriteDeadline):
    """One connection."""

    def __init__(
        self, router: Router, connections: Connections, *, cross_origin: bool = False, **options: Any
    ) -> None:
        """With `cross_origin`, what a page of another origin asks goes over ASGI, where `cors.py` answers it."""
        super().__init__(**options)
        self._router = router
        self._guard = connections
        self._not_plain = (*_NOT_PLAIN, b"origin") if cross_origin else _NOT_PLAIN
        self._deadline: Deadline | None = None
        self._phase = _BETWEEN
        self._active: RequestResponseCycle | Exchange | None = None  # whose answer is the next to be sent
        self._refused = False  # then what comes is thrown away
        self._last = False  # the server stops: the request that is on its way is the last one
        self._read = 0  # bytes of the read that is being parsed
        self._unparsed = 0  # bytes of reads since anything was complete: a header, or a piece of a body
        self._tail = 0  # how many more the header may have, that began in the middle of a read
        self._grown = 0  # bytes of the body since its deadline began

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        refusal = self._guard.admit(self, self.client[0] if self.client else None)
        if refusal is None:
            self._await(self._guard.header)
        else:
            self._refuse(refusal)  # which it may read before it has asked

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave()
        active = self._active
        if (
            active is not None and not active.response_complete
        ):  # it need not be the newest, which uvicorn tells
            active.disconnected = True
            active.message_event.set()
        super().connection_lost(exc)

    def _leave(self) -> None:
        self._await(None)
        self._guard.leave(self)

    def _await(self, deadline: Deadline | None) -> None:
        """Let another deadline hold from now on; the same goes on."""
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
        except httptools.HttpParserError as trouble:
            refusal = trouble.__context__
            self._refuse(refusal if isinstance(refusal, Error) else None)
            return
        if self._unparsed > limits.header_bytes_max:
            self._refuse(_headers_too_large())
        elif self._phase == _BODY:
            self._await(self._guard.body)
        elif self._answering():
            self._await(None)
        elif self._phase == _HEADER:
            self._await(self._guard.header)

    def _answering(self) -> bool:
        return self._active is not None and not self._active.response_complete

    # What the parser finds. An Error ends the parsing, and is answered.

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
        if self._phase == _HEADER:  # and no trailer: those are read, and mean nothing here
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if (
            self._unparsed + self._tail > limits.header_bytes_max
        ):  # or perhaps not: a body may have come with it
            size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            if size > limits.header_bytes_max:
                raise _headers_too_large()
        self._phase = _BODY
        self._unparsed = self._grown = 0
        if not self._begin_plain():
            self._begin_asgi()

    def _begin_plain(self) -> bool:
        """Take the request, if it is one that is served here."""
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
        if method not in endpoint.plain:
            return False
        headers = dict(self.headers)
        for name in self._not_plain:
            if name in headers:
                return False
        if int(headers.get(b"content-length", 0)) > limits.plain_body_bytes_max:
            return False
        if self.parser.get_http_version() != "1.1":
            return False
        keep_alive = self.parser.should_keep_alive() and not self._last
        exchange: Any = Exchange(self, endpoint, method, path, path_params, query, headers, keep_alive)
        self.cycle = self._active = exchange
        return True

    def _begin_asgi(self) -> None:
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()  # makes the scope, which a plain request needs not
        self.url, self.expect_100_continue = url, expects
        self.headers = self.scope["headers"] = headers
        super().on_headers_complete()
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
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._phase = _BETWEEN
        self._unparsed = 0
        cycle: Any = self.cycle
        if type(cycle) is Exchange:
            task = self.loop.create_task(cycle.run())
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
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
            self._await(self._guard.idle if self._phase == _BETWEEN else self._guard.header)

    # Where a request does not come as it should.

    def expired(self) -> None:
        guard, deadline = self._guard, self._deadline
        if deadline is guard.refused:
            self.transport.abort()
        elif deadline is guard.idle or (deadline is guard.header and self._phase == _BETWEEN):
            self.close()
        elif deadline is guard.header:
            self._refuse(_late(f"The header was not whole within {guard.header.seconds:g} seconds"))
        elif self.flow.read_paused or self._grown >= limits.body_bytes_per_s_min * guard.body.seconds:
            self._grown = 0  # either it comes fast enough, or it is we who do not take it
            self._await(None)
            self._await(guard.body)
        else:
            self._refuse(
                _late(f"The body was not whole within {guard.body.seconds:g} seconds, and hardly grew")
            )

    def shutdown(self) -> None:
        """The server stops. A connection that was just made, or a header that has begun, may still bring its request: closed
        now, it would be reset. What is idle between two requests is closed.
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
        if (
            self.transport.get_write_buffer_size()
        ):  # of an answer that is not read: it would keep the connection open
            self.transport.abort()
        else:
            self.transport.close()

    def _refuse(self, refusal: Error | None) -> None:
        """End the connection with this answer, or with uvicorn's 400 for what is no HTTP."""
        self._refused = True
        self.pipeline.clear()
        active = self._active
        if active is not None and not active.response_complete:
            started = isinstance(active, RequestResponseCycle) and active.response_started
            if active is not self.cycle or self._phase != _BODY or started:
                active.keep_alive = False  # its answer is on the way, and is the last one
                self._await(None)
                return
            active.response_complete = active.disconnected = True
            active.message_event.set()
        elif self._phase == _BODY and self.cycle is not None:  # answered before its body had come
            self.close()
            return
        if refusal is None:
            self.logger.warning("Invalid HTTP request received.")
            self.send_400_response("Invalid HTTP request received.")
            return
        metrics.refused_connections.labels(refusal.code).inc()
        path = self.url.partition(b"?")[0].decode("latin-1") if self._phase == _BODY else "/"
        self.write(_answer(problem(refusal, shown(path))), keep_alive=False)
        self._guard.leave(self)
        if self.transport.can_write_eof() and self._guard.may_linger():
            # Closed with unread bytes, a connection is reset, and the answer may be lost with it.
            self.transport.write_eof()
            self.flow.resume_reading()
            self._await(self._guard.refused)
        else:
            self.close()

    def write(self, answer: Answer, *, keep_alive: bool) -> None:
        """The whole answer, at once."""
        lines = [*self.server_state.default_headers, *answer.headers]
        if not keep_alive:
            lines.append((b"connection", b"close"))
        head = b"".join([b"%b: %b\r\n" % line for line in lines])
        self.transport.write(b"%b%b\r\n%b" % (STATUS_LINE[answer.status], head, answer.body))


class _NoEvent:
    """Nobody waits for a message of a plain request: its body is here before it is begun."""

    def set(self) -> None: ...


class Exchange:
    """A plain request and its answer: an `endpoint.Request`, and what uvicorn's protocol asks of a cycle."""

    __slots__ = (
        "_began",
        "_endpoint",
        "_protocol",
        "disconnected",
        "headers",
        "keep_alive",
        "method",
        "parts",
        "path",
        "path_params",
        "query_string",
        "response_complete",
    )
    message_event: Final = _NoEvent()

    def __init__(
        self,
        protocol: Protocol,
        endpoint: Endpoint,
        method: str,
        path: str,
        path_params: dict[str, str],
        query_string: bytes,
        headers: Headers,
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
        self.keep_alive = keep_alive
        self.parts: list[bytes] = []
        self.response_complete = False
        self.disconnected = False

    async def body(self, bytes_max: int) -> bytes:
        body = b"".join(self.parts)
        if len(body) > bytes_max:
            raise too_large(bytes_max)
        return body

    def chunks(self) -> AsyncIterator[bytes]:
        raise NotImplementedError("a route that streams its body is not plain")

    async def gone(self) -> bool:
        return self.disconnected or self._protocol.transport.is_closing()

    async def run(self) -> None:
        """Answer."""
        protocol, status = self._protocol, 500
        try:
            answer = await self._endpoint.answer(self)
            if not isinstance(answer, Answer):
                answer = _answer(answer)
            status = answer.status
            if protocol.flow.write_paused:  # by an earlier answer, which the caller has not read yet
                await protocol.flow.drain()
            self.response_complete = True
            if not self.disconnected:
                protocol.write(answer, keep_alive=self.keep_alive)
                if not self.keep_alive:
                    protocol.transport.close()
                protocol.on_response_complete()
        finally:
            if not self.response_complete:  # cancelled: the server does not wait for it any longer
                protocol.transport.close()
        metrics.count(self._endpoint.path, self.method, status, time.perf_counter() - self._began)


def _answer(response: Any) -> Answer:
    """Of a Response whose body is whole."""
    return Answer(response.status_code, response.raw_headers, response.body)


def _headers_too_large() -> Error:
    most = limits.header_bytes_max // limits.KIB
    return Error("HEADERS_TOO_LARGE", f"The request line and the headers are larger than {most} KiB")


def _late(told: str) -> Error:
    return Error("REQUEST_TIMEOUT", told)


assert limits.plain_body_bytes_max <= HIGH_WATER_LIMIT  # for those uvicorn stops reading
