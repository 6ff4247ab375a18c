"""The blocking client."""

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any, Self, Unpack

import httpx2

from runstead.sdk.client_base import LIMITS, ClientBase, Key
from runstead.sdk.errors import no_answer
from runstead.sdk.models.artifact import Upload
from runstead.sdk.models.batch import BatchProgress
from runstead.sdk.models.event import Event
from runstead.sdk.models.notification import Notification
from runstead.sdk.models.run import Run, RunList, RunPage
from runstead.sdk.routes.call import Call, T
from runstead.sdk.routes.log import EventLog
from runstead.sdk.routes.route import SyncSender
from runstead.sdk.routes.runs import RunFilters
from runstead.sdk.transport.batch_follower import BatchFollower
from runstead.sdk.transport.exchange import Done, Exchange
from runstead.sdk.transport.message import Request, from_httpx, httpx_arguments
from runstead.sdk.transport.notification_follower import NotificationFollower
from runstead.sdk.transport.retry import Retries
from runstead.sdk.transport.run_follower import RunFollower
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
            known = self._project_ids[ref] = (self.get_project(ref)).id
        return known

    def iter_runs(self, *, project: str | None = None, **filters: Unpack[RunFilters]) -> Iterator[Run]:
        """Yield every run of the project, newest first, page by page."""
        return _every(lambda cursor: self.list_runs(project=project, cursor=cursor, **filters))

    def iter_all_runs(self, **filters: Unpack[RunFilters]) -> Iterator[Run]:
        """Yield every run of every project that the caller has access to, newest first, page by page."""
        return _every(lambda cursor: self.list_all_runs(cursor=cursor, **filters))

    def iter_children(self, run_id: str, *, fields: Sequence[str] | None = None) -> Iterator[Run]:
        """Yield every child of the run, oldest first, page by page. `fields` is that of `children`."""
        return _every(lambda cursor: self.children(run_id, fields=fields, cursor=cursor))

    def iter_tree(self, run_id: str, *, fields: Sequence[str] | None = None) -> Iterator[Run]:
        """Yield every run of the run's family from the root, oldest first, page by page. `fields` is that of `tree`."""
        return _every(lambda cursor: self.tree(run_id, fields=fields, cursor=cursor))

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
        """Yield every stored event, in order, page by page. `follow` also yields those that come later.

        With `include_descendants` it yields the events of all descendants too, after the `cursor` of an earlier event.
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
        """Yield every stored event, and then new events as they come, until the run has ended.

        A broken or silent connection is replaced by a new one after the last event: no event is lost or repeated.
        With `event_types` only events of these types are yielded. Raise RunsteadError when the server is unavailable
        for longer than the client's retries.

        With `include_descendants` it yields the events of all descendants too, also of new ones, after the `cursor` of
        an earlier event, until the run and all descendants have ended.
        """
        log = EventLog(run_id, conversation_id, include_descendants)
        after = (cursor or "") if include_descendants else after_event_id
        follower = RunFollower(
            log=log, after=after, types=event_types, retries=self._retries, project=self.project
        )
        return self._follow(follower, lambda: self._is_complete(follower))

    def notifications(
        self, project: str | None = None, *, after: str | None = None
    ) -> Generator[Notification, None, None]:
        """Yield notifications of the project's changes, from now on or after a notification's `cursor`.

        A broken or silent connection is replaced by a new one after the last notification. Where some may have been
        missed, one of the type `resync` comes first. Raise RunsteadError when the server is unavailable for longer
        than the client's retries.
        """
        return self._follow(NotificationFollower(self._project(project), after, self._retries))

    def follow_batch(
        self, batch_id: str, *, project: str | None = None
    ) -> Generator[BatchProgress, None, None]:
        """Yield the progress of a batch now and after each change (at most ten times a second), until all runs ended.

        The last progress has `completed_at`. A broken or silent connection is replaced by a new one. Raise
        RunsteadError when the server is unavailable for longer than the client's retries.
        """
        return self._follow(BatchFollower(self._project(project), batch_id, self._retries))

    def _follow(
        self, follower: StreamFollower[Item], is_complete: Callable[[], bool] | None = None
    ) -> Generator[Item, None, None]:
        """Yield the items of a stream, over any number of connections.

        `is_complete` is asked after a connection that ended without an error: was it the last one?
        """
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
            if error is None and is_complete is not None and is_complete():
                return
            self._sleep(follower.disconnected(error))

    def _is_complete(self, follower: RunFollower) -> bool:
        if not follower.may_be_complete or not follower.has_ended(self.send(follower.log.state())):
            return False
        return not self.send(follower.next_events()).data


def _every(read: Callable[[str | None], RunPage | RunList]) -> Iterator[Run]:
    """Yield the runs of every page; `read` gets the cursor of a page."""
    cursor: str | None = None
    while True:
        page = read(cursor)
        yield from page.data
        cursor = page.page_info.next
        if cursor is None:
            return
