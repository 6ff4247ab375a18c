"""The client that blocks."""

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any, Self, Unpack

import httpx2

from runstead.sdk.client_base import LIMITS, ClientBase, Key
from runstead.sdk.errors import no_answer
from runstead.sdk.models.artifact import Upload
from runstead.sdk.models.batch import BatchFollower, BatchProgress
from runstead.sdk.models.event import Event
from runstead.sdk.models.notification import Notification, NotificationFollower
from runstead.sdk.models.run import Run
from runstead.sdk.routes.call import Call, T
from runstead.sdk.routes.log import EventLog
from runstead.sdk.routes.route import SyncSender
from runstead.sdk.routes.runs import RunFilters
from runstead.sdk.transport.exchange import Done, Exchange
from runstead.sdk.transport.message import Request, from_httpx, httpx_arguments
from runstead.sdk.transport.retry import Retries
from runstead.sdk.transport.run_follower import RunFollower
from runstead.sdk.transport.stream_follower import Item, StreamFollower


class Client(ClientBase, SyncSender):
    """Every route of the server, with retries.

    `url` is where the server is; `key` an API key, a JWT or a worker token, or a function that answers the one to use
    now; `project` (slug or id) is what calls mean unless told otherwise; `timeout_s` bounds connecting, writing and
    each wait for a part of the answer; `retries` is how often a call is sent again after no answer, 429 or 5xx (or a
    `Retries` with all its numbers). Pass `transport` or `http` to send through something else: a passed `http` stays
    open when the client closes. Every call raises `RunsteadError`. It may be shared by threads.
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
        """Send any call, with retries, and decode its answer."""
        if call.owner is not None:
            call = call.with_owner(self._project_id(call.owner))
        exchange = Exchange(call, self._retries, self.project)
        while True:
            outcome = self._once(exchange)
            if isinstance(outcome, Done):
                return outcome.value
            self._sleep(outcome)

    def _once(self, exchange: Exchange[T]) -> Done[T] | float:
        try:
            request = self._request(exchange.call, exchange.content)
            response = self._http.request(**self._arguments(request))
        except httpx2.RequestError as error:
            failure = no_answer(error, exchange.call.name)
        else:
            return exchange.answered(from_httpx(response, response.content))
        # Outside the except block: the error that may be raised here must not carry the request along.
        return exchange.failed(failure)

    def _arguments(self, request: Request) -> dict[str, Any]:
        body = request.content
        return httpx_arguments(request, self._url, body.chunks() if isinstance(body, Upload) else body)

    def _project_id(self, ref: str) -> str:
        known = self._known_project_id(ref)
        if known is None:
            known = self._project_ids[ref] = (self.get_project(ref)).id
        return known

    def iter_runs(self, *, project: str | None = None, **filters: Unpack[RunFilters]) -> Iterator[Run]:
        """Every run of the project, newest first, page by page."""
        cursor: str | None = None
        while True:
            page = self.list_runs(project=project, cursor=cursor, **filters)
            yield from page.data
            cursor = page.page_info.next
            if cursor is None:
                return

    def iter_all_runs(self, **filters: Unpack[RunFilters]) -> Iterator[Run]:
        """Every run of every project that the caller reaches, newest first, page by page."""
        cursor: str | None = None
        while True:
            page = self.list_all_runs(cursor=cursor, **filters)
            yield from page.data
            cursor = page.page_info.next
            if cursor is None:
                return

    def events(
        self,
        run_id: str,
        *,
        after_event_id: int = 0,
        event_types: Sequence[str] = (),
        conversation_id: str | None = None,
        include_descendants: bool = False,
        cursor: str | None = None,
    ) -> Iterator[Event]:
        """Every event that is stored by now, in order, page by page. `follow` goes on to those to come.

        With `include_descendants` also those of all runs below, after the `cursor` of an event seen before.
        """
        log = EventLog(run_id, conversation_id, include_descendants)
        after: int | str | None = (cursor or "") if include_descendants else after_event_id
        while after is not None:
            page = self.send(log.page(after, event_types))
            yield from page.data
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
    ) -> Generator[Event, None, None]:
        """Every event, those stored and then those to come as they come, until the run has ended.

        A connection that breaks or falls silent is made anew after the last event seen: nothing is lost, nothing
        repeated. With `event_types` only those are yielded, and the end still ends it. Raises when the server stays
        away for longer than the client's retries.

        With `include_descendants` also the events of all runs below, new ones included, after the `cursor` of an event
        seen before; until the run and all below it have ended.
        """
        log = EventLog(run_id, conversation_id, include_descendants)
        after = (cursor or "") if include_descendants else after_event_id
        following = RunFollower(log, after, event_types, self._retries, self.project)
        return self._streamed(following, lambda: self._over(following))

    def notifications(
        self, project: str | None = None, *, after: str | None = None
    ) -> Generator[Notification, None, None]:
        """What happens in the project from now on, or after a notification's cursor, for as long as you listen.

        A connection that breaks or falls silent is made anew after the last one seen. Where something was missed
        meanwhile, one with the type `resync` comes first. Raises when the server stays away for longer than the
        client's retries.
        """
        return self._streamed(NotificationFollower(self._project(project), after, self._retries))

    def follow_batch(
        self, batch_id: str, *, project: str | None = None
    ) -> Generator[BatchProgress, None, None]:
        """The batch as it stands, then whenever its counters have moved (at most ten times a second), until all its runs
        have ended: the last one has `completed_at`.

        A connection that breaks or falls silent is made anew. Raises when the server stays away for longer than the
        client's retries.
        """
        return self._streamed(BatchFollower(self._project(project), batch_id, self._retries))

    def _streamed(
        self, streaming: StreamFollower[Item], over: Callable[[], bool] | None = None
    ) -> Generator[Item, None, None]:
        """What a stream tells, over as many connections as it takes. `over` finds out whether one that ended cleanly was
        the last.
        """
        while True:
            call, error = streaming.call(), None
            try:
                with self._http.stream(**self._arguments(self._stream_request(call))) as response:
                    content = b"" if response.is_success else response.read()
                    error = streaming.opened(from_httpx(response, content), call.name)
                    if error is None:
                        for chunk in response.iter_bytes():
                            yield from streaming.feed(chunk)
                            if streaming.done:
                                return
            except httpx2.RequestError as failure:
                error = no_answer(failure, call.name)
            if error is None and over is not None and over():
                return
            self._sleep(streaming.broke(error))

    def _over(self, following: RunFollower) -> bool:
        if not following.may_be_over:
            return False
        state = self.send(following.log.state())
        return following.ended(state) and following.over(self.send(following.rest()))
