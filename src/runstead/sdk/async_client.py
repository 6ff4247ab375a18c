"""The client that is awaited."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import nullcontext
from typing import Self, Unpack

import httpx2

from runstead.sdk.client_base import LIMITS, ClientBase, Key
from runstead.sdk.errors import no_answer
from runstead.sdk.models.batch import BatchFollower, BatchProgress
from runstead.sdk.models.event import Event
from runstead.sdk.models.notification import Notification, NotificationFollower
from runstead.sdk.models.run import Run
from runstead.sdk.routes.call import Call, T
from runstead.sdk.routes.log import EventLog
from runstead.sdk.routes.route import AsyncSender
from runstead.sdk.routes.runs import RunFilters
from runstead.sdk.transport.exchange import Done, Exchange
from runstead.sdk.transport.httpx_transport import HttpxTransport
from runstead.sdk.transport.message import Transport
from runstead.sdk.transport.pool import Pool, can_reach
from runstead.sdk.transport.retry import Retries
from runstead.sdk.transport.run_follower import RunFollower
from runstead.sdk.transport.stream_follower import Item, StreamFollower


class AsyncClient(ClientBase, AsyncSender):
    """Every route of the server, with retries.

    `url` is where the server is; `key` an API key, a JWT or a worker token, or a function that answers the one to use
    now; `project` (slug or id) is what calls mean unless told otherwise; `timeout_s` bounds connecting, writing and
    each wait for a part of the answer; `retries` is how often a call is sent again after no answer, 429 or 5xx (or a
    `Retries` with all its numbers). Pass `transport` or `http` to send through something else: a passed `http` stays
    open when the client closes. Without them, and without a proxy in the environment, it uses connections of its own,
    which cost a fraction of httpx2's. `calls_at_once` bounds how many calls are under way at a time; others wait, and
    those that the server holds back (a claim that waits) do not count. Every call raises `RunsteadError`. It belongs to
    one event loop.
    """

    def __init__(
        self,
        url: str,
        key: Key | None = None,
        *,
        project: str | None = None,
        timeout_s: float = 30.0,
        retries: int | Retries = 5,
        transport: httpx2.AsyncBaseTransport | None = None,
        http: httpx2.AsyncClient | None = None,
        calls_at_once: int | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        super().__init__(url, key, project, timeout_s, retries)
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
        if self._owns_http:
            await self._transport.aclose()

    async def send(self, call: Call[T]) -> T:
        """Send any call, with retries, and decode its answer."""
        if call.owner is not None:
            call = call.with_owner(await self._project_id(call.owner))
        exchange = Exchange(call, self._retries, self.project)
        while True:
            outcome = await self._once(exchange)
            if isinstance(outcome, Done):
                return outcome.value
            await self._sleep(outcome)

    async def _once(self, exchange: Exchange[T]) -> Done[T] | float:
        gate = nullcontext() if self._gate is None or exchange.call.extra_wait_s else self._gate
        try:
            async with gate:
                response = await self._transport.request(self._request(exchange.call, exchange.content))
        except httpx2.RequestError as error:
            failure = no_answer(error, exchange.call.name)
        else:
            return exchange.answered(response)
        # Outside the except block: the error that may be raised here must not carry the request along.
        return exchange.failed(failure)

    async def _project_id(self, ref: str) -> str:
        known = self._known_project_id(ref)
        if known is None:
            known = self._project_ids[ref] = (await self.get_project(ref)).id
        return known

    async def iter_runs(
        self, *, project: str | None = None, **filters: Unpack[RunFilters]
    ) -> AsyncIterator[Run]:
        """Every run of the project, newest first, page by page."""
        cursor: str | None = None
        while True:
            page = await self.list_runs(project=project, cursor=cursor, **filters)
            for run in page.data:
                yield run
            cursor = page.page_info.next
            if cursor is None:
                return

    async def iter_all_runs(self, **filters: Unpack[RunFilters]) -> AsyncIterator[Run]:
        """Every run of every project that the caller reaches, newest first, page by page."""
        cursor: str | None = None
        while True:
            page = await self.list_all_runs(cursor=cursor, **filters)
            for run in page.data:
                yield run
            cursor = page.page_info.next
            if cursor is None:
                return

    async def events(
        self,
        run_id: str,
        *,
        after_event_id: int = 0,
        event_types: Sequence[str] = (),
        conversation_id: str | None = None,
        include_descendants: bool = False,
        cursor: str | None = None,
    ) -> AsyncIterator[Event]:
        """Every event that is stored by now, in order, page by page. `follow` goes on to those to come.

        With `include_descendants` also those of all runs below, after the `cursor` of an event seen before.
        """
        log = EventLog(run_id, conversation_id, include_descendants)
        after: int | str | None = (cursor or "") if include_descendants else after_event_id
        while after is not None:
            page = await self.send(log.page(after, event_types))
            for event in page.data:
                yield event
            after = log.next_after(page)

    def follow(
        self,
        run_id: str,
        *,
        after_event_id: int = 0,
        event_types: Sequence[str] = (),
        conversation_id: str | None = None,
        include_descendants: bool = False,
        cursor: str | None = None,
    ) -> AsyncGenerator[Event, None]:
        """Every event, those stored and then those to come as they come, until the run has ended.

        A connection that breaks or falls silent is made anew after the last event seen: nothing is lost, nothing
        repeated. With `event_types` only those are yielded, and the end still ends it. Raises when the server stays
        away for longer than the client's retries.

        With `include_descendants` also the events of all runs below, new ones included, after the `cursor` of an event
        seen before; until the run and all below it have ended.
        Leave the loop early only inside `contextlib.aclosing(...)`: it closes the connection at once.
        """
        log = EventLog(run_id, conversation_id, include_descendants)
        after = (cursor or "") if include_descendants else after_event_id
        following = RunFollower(log, after, event_types, self._retries, self.project)
        return self._streamed(following, lambda: self._over(following))

    def notifications(
        self, project: str | None = None, *, after: str | None = None
    ) -> AsyncGenerator[Notification, None]:
        """What happens in the project from now on, or after a notification's cursor, for as long as you listen.

        A connection that breaks or falls silent is made anew after the last one seen. Where something was missed
        meanwhile, one with the type `resync` comes first. Raises when the server stays away for longer than the
        client's retries.
        Leave the loop early only inside `contextlib.aclosing(...)`: it closes the connection at once.
        """
        return self._streamed(NotificationFollower(self._project(project), after, self._retries))

    def follow_batch(
        self, batch_id: str, *, project: str | None = None
    ) -> AsyncGenerator[BatchProgress, None]:
        """The batch as it stands, then whenever its counters have moved (at most ten times a second), until all its runs
        have ended: the last one has `completed_at`.

        A connection that breaks or falls silent is made anew. Raises when the server stays away for longer than the
        client's retries.
        Leave the loop early only inside `contextlib.aclosing(...)`: it closes the connection at once.
        """
        return self._streamed(BatchFollower(self._project(project), batch_id, self._retries))

    async def _streamed(
        self, streaming: StreamFollower[Item], over: Callable[[], Awaitable[bool]] | None = None
    ) -> AsyncGenerator[Item, None]:
        """What a stream tells, over as many connections as it takes. `over` finds out whether one that ended cleanly was
        the last.
        """
        while True:
            call, error = streaming.call(), None
            try:
                async with self._transport.stream(self._stream_request(call)) as (response, chunks):
                    error = streaming.opened(response, call.name)
                    if error is None:
                        async for chunk in chunks:
                            for told in streaming.feed(chunk):
                                yield told
                            if streaming.done:
                                return
            except httpx2.RequestError as failure:
                error = no_answer(failure, call.name)
            if error is None and over is not None and await over():
                return
            await self._sleep(streaming.broke(error))

    async def _over(self, following: RunFollower) -> bool:
        if not following.may_be_over:
            return False
        state = await self.send(following.log.state())
        return following.ended(state) and following.over(await self.send(following.rest()))
