"""The blocking client."""

import math
import time
from collections.abc import Callable, Generator, Mapping
from datetime import datetime
from typing import Any, Never, ParamSpec, Self, TypeVar, Unpack, overload

import httpx2

from runstead.sdk.client_base import LIMITS, ClientBase, Key
from runstead.sdk.errors import RunsteadError, no_answer
from runstead.sdk.handle import BlockingRunHandle
from runstead.sdk.models.artifact import Upload
from runstead.sdk.models.value import Codec
from runstead.sdk.routes.call import Call, T
from runstead.sdk.routes.create import IfDiffers, RunBudget, RunOptions
from runstead.sdk.routes.route import Pages, SyncSender
from runstead.sdk.task import Task, start_request
from runstead.sdk.transport.exchange import Done, Exchange
from runstead.sdk.transport.message import Request, from_httpx, httpx_arguments
from runstead.sdk.transport.retry import Retries
from runstead.sdk.transport.stream_follower import Item, StreamFollower

P = ParamSpec("P")
Result = TypeVar("Result")


class Client(ClientBase, SyncSender):
    """A client that blocks, with one method for each route of the server. Threads may share it.

    `url` is the server's URL. `key` is an API key, a JWT or a worker token, or a function that returns the current one.
    `project` (slug or id) is the default project of calls. `timeout_s` bounds connecting, and each write and read.
    `retries` is how often a call is retried after no answer, 429 or 5xx; a `Retries` sets all its values. `codec` encodes
    the inputs and signals of runs, and decodes their outputs (docs/codec.md). With
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
        codec: Codec | None = None,
        transport: httpx2.BaseTransport | None = None,
        http: httpx2.Client | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__(url, key, project, timeout_s, retries, codec)
        self._owns_http = http is None
        self._http = http or httpx2.Client(transport=transport, limits=LIMITS)
        self._sleep = sleep

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections. Clients of `with_key` share them."""
        if self._owns_http:
            self._http.close()

    @overload
    def start(
        self,
        target: Task[P, Result],
        /,
        _by_name: Never = ...,
        id: str | None = None,
        title: str | None = None,
        labels: Mapping[str, str] | None = None,
        priority: int | None = None,
        available_at: datetime | None = None,
        budget: RunBudget | None = None,
        project: str | None = None,
        if_differs: IfDiffers = "warn",
        concurrency_key: str | None = None,
        unique: Mapping[str, Any] | None = None,
        debounce: Mapping[str, Any] | None = None,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> BlockingRunHandle[Result]: ...
    @overload
    def start(
        self,
        target: str,
        /,
        *,
        returns: type[Result],
        input: Any = None,
        config: Mapping[str, Any] | None = None,
        conversation_id: str | None = None,
        project: str | None = None,
        **options: Unpack[RunOptions],
    ) -> BlockingRunHandle[Result]: ...
    @overload
    def start(
        self,
        target: str,
        /,
        *,
        input: Any = None,
        config: Mapping[str, Any] | None = None,
        conversation_id: str | None = None,
        project: str | None = None,
        **options: Unpack[RunOptions],
    ) -> BlockingRunHandle[Any]: ...
    def start(self, target: Any, /, *args: Any, returns: Any = Any, **options: Any) -> BlockingRunHandle[Any]:
        """Create a run and return its handle: `client.start(invoice, invoice_id="1", id="invoice-1")`.

        `invoice` is a function with a decorator of an `App`. It gets its arguments by name, beside the options in the
        signature, and its return type is that of the result. A string names a target of any program, `task:…`,
        `workflow:…`, `eval:…` or `agent:…`, with `config` and `input`. Its options are those of `runs.create`, and
        `returns` is the type of its result. With the `id` of an existing run it returns the handle of that run, and
        warns if its config or input is another one (`if_differs`). Raise TypeError for arguments that do not fit the function.
        """
        target, options, returns = start_request(target, args, options, returns)
        created = self.runs.create(target, **options)
        return BlockingRunHandle(self, created.run.run_id, returns)

    @overload
    def run(self, run_id: str, *, returns: type[Result]) -> BlockingRunHandle[Result]: ...
    @overload
    def run(self, run_id: str) -> BlockingRunHandle[Any]: ...
    def run(self, run_id: str, *, returns: Any = Any) -> BlockingRunHandle[Any]:
        """Return the handle of an existing run. `returns` is the type of its result. Nothing is sent."""
        return BlockingRunHandle(self, run_id, returns)

    def request(self, call: Call[T]) -> T:
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
            yield from pages.items(self.request(pages.call))

    def _follow(
        self, follower: StreamFollower[Item], deadline: float | None = None
    ) -> Generator[Item, None, None]:
        """Yield the items of a stream, over any number of connections.

        Raise TimeoutError at the deadline, a time of `time.monotonic()`.
        """
        follower.use(self._retries)
        while True:
            call, error = follower.call(), None
            try:
                with self._http.stream(
                    **self._arguments(self._stream_request(call, _left(deadline)))
                ) as response:
                    content = b"" if response.is_success else response.read()
                    error = follower.opened(from_httpx(response, content), call.name)
                    if error is None:
                        for chunk in response.iter_bytes():
                            _left(deadline)
                            yield from follower.feed(chunk)
                            if follower.done:
                                return
            except httpx2.RequestError as failure:
                error = no_answer(failure, call.name)
            if error is None and self._perform(follower.completion()):
                return
            self._sleep(min(follower.disconnected(error), _left(deadline)))

    def _perform(self, calls: Generator[Call[Any], Any, T]) -> T:
        """Send the calls that a procedure yields, and return its value."""
        try:
            call = next(calls)
            while True:
                try:
                    answer = self.request(call)
                except RunsteadError as error:
                    call = calls.throw(error)
                else:
                    call = calls.send(answer)
        except StopIteration as end:
            value: T = end.value
            return value


def _left(deadline: float | None) -> float:
    """Return the seconds until the deadline. Raise TimeoutError after it."""
    left = math.inf if deadline is None else deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("The run has not ended in time")
    return left
