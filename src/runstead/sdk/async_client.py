"""The asynchronous client."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import nullcontext
from datetime import datetime
from typing import Any, Never, ParamSpec, Self, TypeVar, Unpack, overload

import httpx2

from runstead.sdk.client_base import LIMITS, ClientBase, Key
from runstead.sdk.errors import no_answer
from runstead.sdk.handle import RunHandle
from runstead.sdk.models.value import Codec
from runstead.sdk.routes.call import Call, T
from runstead.sdk.routes.create import IfDiffers, RunBudget, RunOptions
from runstead.sdk.routes.route import AsyncSender, Pages
from runstead.sdk.task import Task, start_request
from runstead.sdk.transport.exchange import Done, Exchange
from runstead.sdk.transport.httpx_transport import HttpxTransport
from runstead.sdk.transport.message import Transport
from runstead.sdk.transport.pool import Pool, can_reach
from runstead.sdk.transport.retry import Retries
from runstead.sdk.transport.stream_follower import Item, StreamFollower

P = ParamSpec("P")
Result = TypeVar("Result")


class AsyncClient(ClientBase, AsyncSender):
    """A client with one coroutine method for each route of the server. It belongs to one event loop.

    The arguments from `url` to `codec` are those of `Client`. With `transport` or `http` requests are sent through them;
    a passed `http` stays open when the client is closed. Without them, and without a proxy in the environment, the
    client uses its own connections, which need less CPU time than httpx2's. `calls_at_once` bounds the concurrent calls;
    claims that wait do not count. Every method may raise `RunsteadError`.
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
        transport: httpx2.AsyncBaseTransport | None = None,
        http: httpx2.AsyncClient | None = None,
        calls_at_once: int | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        super().__init__(url, key, project, timeout_s, retries, codec)
        self._owns_http = http is None
        where = httpx2.URL(self._url)
        self._transport: Transport
        if http is None and transport is None and can_reach(where):
            self._transport = Pool(where)
        else:
            http = http or httpx2.AsyncClient(transport=transport, limits=LIMITS)
            self._transport = HttpxTransport(http, self._url)
        self._sleep = sleep
        self._gate = None if calls_at_once is None else asyncio.Semaphore(calls_at_once)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections. Clients of `with_key` share them."""
        if self._owns_http:
            await self._transport.aclose()

    @overload
    async def start(
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
    ) -> RunHandle[Result]: ...
    @overload
    async def start(
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
    ) -> RunHandle[Result]: ...
    @overload
    async def start(
        self,
        target: str,
        /,
        *,
        input: Any = None,
        config: Mapping[str, Any] | None = None,
        conversation_id: str | None = None,
        project: str | None = None,
        **options: Unpack[RunOptions],
    ) -> RunHandle[Any]: ...
    async def start(self, target: Any, /, *args: Any, returns: Any = Any, **options: Any) -> RunHandle[Any]:
        """Create a run and return its handle; see `Client.start`. Raise TypeError for arguments that do not fit."""
        target, options, returns = start_request(target, args, options, returns)
        created = await self.runs.create(target, **options)
        return RunHandle(self, created.run.run_id, returns)

    @overload
    def run(self, run_id: str, *, returns: type[Result]) -> RunHandle[Result]: ...
    @overload
    def run(self, run_id: str) -> RunHandle[Any]: ...
    def run(self, run_id: str, *, returns: Any = Any) -> RunHandle[Any]:
        """Return the handle of an existing run. `returns` is the type of its result. Nothing is sent."""
        return RunHandle(self, run_id, returns)

    async def request(self, call: Call[T]) -> T:
        """Send any call, with retries, and return its decoded answer."""
        if call.owner is not None:
            call = call.with_owner(await self._project_id(call.owner))
        exchange = Exchange(call, self._retries, self.project)
        while True:
            outcome = await self._attempt(exchange)
            if isinstance(outcome, Done):
                return outcome.value
            await self._sleep(outcome)

    async def _attempt(self, exchange: Exchange[T]) -> Done[T] | float:
        gate = nullcontext() if self._gate is None or exchange.call.extra_wait_s else self._gate
        try:
            async with gate:
                response = await self._transport.request(self._request(exchange.call, exchange.content))
        except httpx2.RequestError as error:
            failure = no_answer(error, exchange.call.name)
        else:
            return exchange.on_response(response)
        # Outside the except block, so that the raised error has no context: the request holds the credential.
        return exchange.on_no_response(failure)

    async def _project_id(self, ref: str) -> str:
        known = self._known_project_id(ref)
        if known is None:
            known = self._project_ids[ref] = (await self.projects.get(ref)).id
        return known

    async def _iterate(self, pages: Pages[Item]) -> AsyncGenerator[Item, None]:
        """Yield the items of every page."""
        while pages.call is not None:
            for item in pages.items(await self.request(pages.call)):
                yield item

    async def _follow(self, follower: StreamFollower[Item]) -> AsyncGenerator[Item, None]:
        """Yield the items of a stream, over any number of connections."""
        follower.use(self._retries)
        while True:
            call, error = follower.call(), None
            try:
                async with self._transport.stream(self._stream_request(call)) as (response, chunks):
                    error = follower.opened(response, call.name)
                    if error is None:
                        async for chunk in chunks:
                            for item in follower.feed(chunk):
                                yield item
                            if follower.done:
                                return
            except httpx2.RequestError as failure:
                error = no_answer(failure, call.name)
            if error is None and await self._perform(follower.completion()):
                return
            await self._sleep(follower.disconnected(error))
