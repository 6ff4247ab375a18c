"""Routes of a run's event log."""

import functools
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from runstead.sdk.models.event import (
    Appended,
    Event,
    EventPage,
    EventSummary,
    EventTypeList,
    Published,
    Snapshot,
)
from runstead.sdk.routes.call import Call, idempotent, members
from runstead.sdk.routes.endpoint import endpoint
from runstead.sdk.routes.log import EVENTS_PER_PAGE, EventLog
from runstead.sdk.routes.route import Pages, Resource, S_co, paged, route, stream
from runstead.sdk.transport.run_follower import RunFollower
from runstead.sdk.transport.stream_follower import StreamFollower

#: Objects with a string `type`, or such an object as JSON text.
NewEvents = Sequence[Mapping[str, Any] | msgspec.Raw]


class Events(Resource[S_co]):
    """A refused append stores no event.

    Errors: 400 EVENT_CURSOR_MISMATCH, EVENT_RUN_TERMINAL, EVENT_RUN_WAITING or EVENT_TOO_LARGE; 409 ATTEMPT_SUPERSEDED.
    """

    @route
    def publish(
        self,
        name: str,
        data: Any = None,
        *,
        id: str | None = None,  # noqa: A002 - the member's name on the wire
        occurred_at: datetime | None = None,
        project: str | None = None,
    ) -> Call[Published]:
        """`POST /projects/{ref}/events`: publish an event on the project's bus, with any JSON up to 256 KiB.

        It resumes the runs that wait for it with `ctx.wait_for_event(name, match=…)`, and starts runs by triggers. For 24
        hours an event with the same `id` is not published again; 409 IDEMPOTENCY_KEY_REUSED where it has another name or
        other data.
        """
        body = members(name=name, id=id, occurred_at=occurred_at) | {"data": data}
        return idempotent("POST", self._in_project(project, "events"), Published, body=body)

    @endpoint("POST", "/runs/{run_id}/events", key="new")
    def append(
        self,
        run_id: str,
        events: NewEvents,
        *,
        expected_previous_event_id: int | None = None,
        expected_previous_external_event_sequence: int | None = None,
        attempt: int | None = None,
        lease_token: str | None = None,
        idempotency_key: str | None = None,
    ) -> Call[Appended]:
        """Store 1 to 100 events in one transaction.

        An event's JSON is under 256 KiB, the whole request under 10 MiB. RUN_FINISHED and RUN_ERROR are refused:
        completing the run writes them. An event with an `idempotency_key` (1 to 255 characters) is stored once per run;
        `appended_count` counts the new ones, and another event under a stored key is 409 IDEMPOTENCY_KEY_REUSED.
        """

    @route
    def list(
        self,
        run_id: str,
        *,
        after_event_id: int = 0,
        limit: int = EVENTS_PER_PAGE,
        event_types: Sequence[str] = (),
        conversation_id: str | None = None,
        include_descendants: bool = False,
        cursor: str | None = None,
    ) -> Call[EventPage]:
        """`GET /runs/{run_id}/events`: one page, in order. `limit` is 1 to 500.

        With `include_descendants` the events of all descendants are included, in the order in which they were stored.
        The next page is then read by `cursor` (an event's, or `page_info.next`), not by `after_event_id`. With
        `conversation_id` it is `GET /conversations/{conversation_id}/runs/{run_id}/events`.
        """
        log = EventLog(run_id, conversation_id, family=include_descendants)
        return log.page(log.position(after_event_id, cursor), event_types, limit)

    @paged
    def iter(
        self,
        run_id: str,
        *,
        after_event_id: int = 0,
        event_types: Sequence[str] = (),
        conversation_id: str | None = None,
        include_descendants: bool = False,
        cursor: str | None = None,
    ) -> Pages[Event]:
        """Yield every stored event, in order, page by page. `follow` also yields those that come later.

        With `include_descendants` it yields the events of all descendants too, after the `cursor` of an earlier event.
        """
        log = EventLog(run_id, conversation_id, family=include_descendants)
        read = functools.partial(log.page, types=event_types)
        return Pages(read, log.position(after_event_id, cursor), log.next_after)

    @stream
    def follow(
        self,
        run_id: str,
        *,
        after_event_id: int = 0,
        event_types: Sequence[str] = (),
        conversation_id: str | None = None,
        include_descendants: bool = False,
        cursor: str | None = None,
    ) -> StreamFollower[Event]:
        """Yield every stored event, and then new events as they come, until the run has ended.

        A broken or silent connection is replaced by a new one after the last event: no event is lost or repeated.
        With `event_types` only events of these types are yielded. Raise RunsteadError when the server is unavailable
        for longer than the client's retries.

        With `include_descendants` it yields the events of all descendants too, also of new ones, after the `cursor` of
        an earlier event, until the run and all descendants have ended.

        To leave the loop of an `AsyncClient` early, use `contextlib.aclosing(...)`: it closes the connection at once.
        """
        log = EventLog(run_id, conversation_id, family=include_descendants)
        return RunFollower(log, log.position(after_event_id, cursor), event_types, self._client.project)

    @endpoint("GET", "/runs/{run_id}/events/{event_id}")
    def get(self, run_id: str, event_id: int) -> Call[Event]:
        """One event. 404 for an unknown or private event."""

    @endpoint("GET", "/runs/{run_id}/events/summary")
    def summary(self, run_id: str) -> Call[EventSummary]:
        """The number of events of each type, and their first and last times."""

    @endpoint("GET", "/runs/event-types")
    def types(self) -> Call[EventTypeList]:
        """The documented event types and their members."""

    @endpoint("GET", "/conversations/{conversation_id}/runs/{run_id}/snapshot")
    def snapshot(self, conversation_id: str, run_id: str) -> Call[Snapshot]:
        """The run's messages and state."""
