"""The blocking client."""

import time
from collections.abc import Callable, Generator
from typing import Any, Self

import httpx2

from runstead.sdk.client_base import LIMITS, ClientBase, Key
from runstead.sdk.errors import no_answer
from runstead.sdk.models.artifact import Upload
from runstead.sdk.routes.call import Call, T
from runstead.sdk.routes.route import Pages, SyncSender
from runstead.sdk.transport.exchange import Done, Exchange
from runstead.sdk.transport.message import Request, from_httpx, httpx_arguments
from runstead.sdk.transport.retry import Retries
from runstead.sdk.transport.stream_follower import Item, StreamFollower


class Client(ClientBase, SyncSender):
    """A client that blocks, with one method for each route of the server. Threads may share it.

    `url` is the server's URL. `key` is an API key, a JWT or a worker token, or a function that returns the current one.
    `project` (slug or id) is the default project of calls. `timeout_s` bounds connecting, and each write and read.
    `retries` is how often a call is retried after no answer, 429 or 5xx; a `Retries` sets all its values. With
    `transport` or `http` requests are sent through them; a passed `http` stays open when the client is closed. Every
    method may raise `RunsteadError`.
    """

    def __init__(
        self,
        url: str,
        key: Key | None = None,
        *,
        project: str | None = None,
        timeout_s: float = 30.0,
        retries: int | Retries = 5,
        transport: httpx2.BaseTransport | None = None,
        http: httpx2.Client | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__(url, key, project, timeout_s, retries)
        self._owns_http = http is None
        self._http = http or httpx2.Client(transport=transport, limits=LIMITS)
        self._sleep = sleep

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._owns_http:
            self._http.close()

    def send(self, call: Call[T]) -> T:
        """Send any call, with retries, and return its decoded answer."""
        if call.owner is not None:
            call = call.with_owner(self._project_id(call.owner))
        exchange = Exchange(call, self._retries, self.project)
        while True:
            outcome = self._attempt(exchange)
            if isinstance(outcome, Done):
                return outcome.value
            self._sleep(outcome)

    def _attempt(self, exchange: Exchange[T]) -> Done[T] | float:
        try:
            request = self._request(exchange.call, exchange.content)
            response = self._http.request(**self._arguments(request))
        except httpx2.RequestError as error:
            failure = no_answer(error, exchange.call.name)
        else:
            return exchange.on_response(from_httpx(response, response.content))
        # Outside the except block, so that the raised error has no context: the request holds the credential.
        return exchange.on_no_response(failure)

    def _arguments(self, request: Request) -> dict[str, Any]:
        body = request.content
        return httpx_arguments(request, self._url, body.chunks() if isinstance(body, Upload) else body)

    def _project_id(self, ref: str) -> str:
        known = self._known_project_id(ref)
        if known is None:
            known = self._project_ids[ref] = self.projects.get(ref).id
        return known

    def _iterate(self, pages: Pages[Item]) -> Generator[Item, None, None]:
        """Yield the items of every page."""
        while pages.call is not None:
            yield from pages.items(self.send(pages.call))

    def _follow(self, follower: StreamFollower[Item]) -> Generator[Item, None, None]:
        """Yield the items of a stream, over any number of connections."""
        follower.use(self._retries)
        while True:
            call, error = follower.call(), None
            try:
                with self._http.stream(**self._arguments(self._stream_request(call))) as response:
                    content = b"" if response.is_success else response.read()
                    error = follower.opened(from_httpx(response, content), call.name)
                    if error is None:
                        for chunk in response.iter_bytes():
                            yield from follower.feed(chunk)
                            if follower.done:
                                return
            except httpx2.RequestError as failure:
                error = no_answer(failure, call.name)
            if error is None and self._is_complete(follower):
                return
            self._sleep(follower.disconnected(error))

    def _is_complete(self, follower: StreamFollower[Any]) -> bool:
        calls = follower.completion()
        try:
            call = next(calls)
            while True:
                call = calls.send(self.send(call))
        except StopIteration as end:
            return bool(end.value)
