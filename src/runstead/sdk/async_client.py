"""The asynchronous client."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import nullcontext
from typing import Self, Unpack

import httpx2

from runstead.sdk.client_base import LIMITS, ClientBase, Key
from runstead.sdk.errors import no_answer
from runstead.sdk.models.batch import BatchProgress
from runstead.sdk.models.event import Event
from runstead.sdk.models.notification import Notification
from runstead.sdk.models.run import Run, RunList, RunPage
from runstead.sdk.routes.call import Call, T
from runstead.sdk.routes.log import EventLog
from runstead.sdk.routes.route import AsyncSender
from runstead.sdk.routes.runs import RunFilters
from runstead.sdk.transport.batch_follower import BatchFollower
from runstead.sdk.transport.exchange import Done, Exchange
from runstead.sdk.transport.httpx_transport import HttpxTransport
from runstead.sdk.transport.message import Transport
from runstead.sdk.transport.notification_follower import NotificationFollower
from runstead.sdk.transport.pool import Pool, can_reach
from runstead.sdk.transport.retry import Retries
from runstead.sdk.transport.run_follower import RunFollower
from runstead.sdk.transport.stream_follower import Item, StreamFollower


class AsyncClient(ClientBase, AsyncSender):
    """A client with one coroutine method for each route of the server. It belongs to one event loop.

    `url` is the server's URL. `key` is an API key, a JWT or a worker token, or a function that returns the current one.
    `project` (slug or id) is the default project of calls. `timeout_s` bounds connecting, and each write and read.
    `retries` is how often a call is retried after no answer, 429 or 5xx; a `Retries` sets all its values. With
    `transport` or `http` requests are sent through them; a passed `http` stays open when the client is closed. Without
    them, and without a proxy in the environment, the client uses its own connections, which need less CPU time than
    httpx2's. `calls_at_once` bounds the concurrent calls; claims that wait do not count. Every method may raise
    `RunsteadError`.
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
            known = self._project_ids[ref] = (await self.get_project(ref)).id
        return known

    def iter_runs(self, *, project: str | None = None, **filters: Unpack[RunFilters]) -> AsyncIterator[Run]:
        """Yield every run of the project, newest first, page by page."""
        return _every(lambda cursor: self.list_runs(project=project, cursor=cursor, **filters))

    def iter_all_runs(self, **filters: Unpack[RunFilters]) -> AsyncIterator[Run]:
        """Yield every run of every project that the caller has access to, newest first, page by page."""
        return _every(lambda cursor: self.list_all_runs(cursor=cursor, **filters))

    def iter_children(self, run_id: str, *, fields: Sequence[str] | None = None) -> AsyncIterator[Run]:
        """Yield every child of the run, oldest first, page by page. `fields` is that of `children`."""
        return _every(lambda cursor: self.children(run_id, fields=fields, cursor=cursor))

    def iter_tree(self, run_id: str, *, fields: Sequence[str] | None = None) -> AsyncIterator[Run]:
        """Yield every run of the run's family from the root, oldest first, page by page. `fields` is that of `tree`."""
        return _every(lambda cursor: self.tree(run_id, fields=fields, cursor=cursor))

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
        """Yield every stored event, in order, page by page. `follow` also yields those that come later.

        With `include_descendants` it yields the events of all descendants too, after the `cursor` of an earlier event.
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
        """Yield every stored event, and then new events as they come, until the run has ended.

        A broken or silent connection is replaced by a new one after the last event: no event is lost or repeated.
        With `event_types` only events of these types are yielded. Raise RunsteadError when the server is unavailable
        for longer than the client's retries.

        With `include_descendants` it yields the events of all descendants too, also of new ones, after the `cursor` of
        an earlier event, until the run and all descendants have ended.

        To leave the loop early, use `contextlib.aclosing(...)`: it closes the connection at once.
        """
        log = EventLog(run_id, conversation_id, include_descendants)
        after = (cursor or "") if include_descendants else after_event_id
        follower = RunFollower(
            log=log, after=after, types=event_types, retries=self._retries, project=self.project
        )
        return self._follow(follower, lambda: self._is_complete(follower))

    def notifications(
        self, project: str | None = None, *, after: str | None = None
    ) -> AsyncGenerator[Notification, None]:
        """Yield notifications of the project's changes, from now on or after a notification's `cursor`.

        A broken or silent connection is replaced by a new one after the last notification. Where some may have been
        missed, one of the type `resync` comes first. Raise RunsteadError when the server is unavailable for longer
        than the client's retries.

        To leave the loop early, use `contextlib.aclosing(...)`: it closes the connection at once.
        """
        return self._follow(NotificationFollower(self._project(project), after, self._retries))

    def follow_batch(
        self, batch_id: str, *, project: str | None = None
    ) -> AsyncGenerator[BatchProgress, None]:
        """Yield the progress of a batch now and after each change (at most ten times a second), until all runs ended.

        The last progress has `completed_at`. A broken or silent connection is replaced by a new one. Raise
        RunsteadError when the server is unavailable for longer than the client's retries.

        To leave the loop early, use `contextlib.aclosing(...)`: it closes the connection at once.
        """
        return self._follow(BatchFollower(self._project(project), batch_id, self._retries))

    async def _follow(
        self, follower: StreamFollower[Item], is_complete: Callable[[], Awaitable[bool]] | None = None
    ) -> AsyncGenerator[Item, None]:
        """Yield the items of a stream, over any number of connections.

        `is_complete` is asked after a connection that ended without an error: was it the last one?
        """
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
            if error is None and is_complete is not None and await is_complete():
                return
            await self._sleep(follower.disconnected(error))

    async def _is_complete(self, follower: RunFollower) -> bool:
        if not follower.may_be_complete or not follower.has_ended(await self.send(follower.log.state())):
            return False
        page = await self.send(follower.next_events())
        return not page.data


async def _every(read: Callable[[str | None], Awaitable[RunPage | RunList]]) -> AsyncIterator[Run]:
    """Yield the runs of every page; `read` gets the cursor of a page."""
    cursor: str | None = None
    while True:
        page = await read(cursor)
        for run in page.data:
            yield run
        cursor = page.page_info.next
        if cursor is None:
            return
