"""The views of a run's page, one of which is shown below its head. A view reads once, then applies updates.

No view reads a whole log: each reads a bounded number of events, of the types that it shows.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Final

from runstead.commands import audit, compensations, events, runs, signals, values
from runstead.commands.followers import RunUpdate
from runstead.commands.runs import RunRef
from runstead.core import limits
from runstead.core.clock import now_ms
from runstead.core.runs.compensation import Compensation
from runstead.core.runs.event import CUSTOM, Event
from runstead.core.runs.event_types import EVENT_TYPES
from runstead.core.runs.log_levels import LEVELS
from runstead.core.runs.run import OMITTABLE, Run
from runstead.core.runs.signal import Signal
from runstead.core.runs.transition import EndedAttempt, attempts_of
from runstead.core.runs.values import VALUE, RunValue
from runstead.ports.store import ListPage, SeqPage
from runstead.web.framework.form import event_digits_max, whole
from runstead.web.framework.live import message_interval_s
from runstead.web.framework.request import PageRequest
from runstead.web.runs import head, log_lines, timeline, transcript
from runstead.web.runs.decisions import Decision, decision
from runstead.web.runs.family import tree
from runstead.web.runs.log_lines import LineFilter, Lines
from runstead.web.runs.transcript import Transcript
from runstead.web.runs.waterfall import layout
from runstead.web.runs.zoom import window_in

messages_shown: Final = 300
rows_shown: Final = 100
bars_in_overview: Final = 60
events_in_overview: Final = 400
signals_shown: Final = 20
_pages_max: Final = 4  # of events that one view reads


class View:
    """A view of a run's page.

    `template` renders it from `values`; `parts` are the templates of its changing parts. If `stale` is true,
    `parts` must be rendered again. `additions` returns elements to append, for views that only grow. `pause_s`
    is the time between two updates. A view that is not `live` never changes in an open page.
    """

    template: ClassVar[str]
    parts: ClassVar[tuple[str, ...]] = ()
    live: ClassVar[bool] = True
    pause_s: float = message_interval_s

    def __init__(self, request: PageRequest, named: RunRef) -> None:
        self.request = request
        self.on_run = *request.caller, named
        self.stale = False

    async def read(self, run: Run) -> None:
        """Read the events up to the run's latest one."""

    async def apply(self, update: RunUpdate) -> None:
        """Apply the run's current state and its new events."""

    def values(self) -> dict[str, Any]:
        """The values of the templates."""
        return {}

    def additions(self) -> tuple[str, Sequence[Any]]:
        """The id of the element to append to, and the new elements."""
        return "", ()

    def _number(self, name: str) -> int:
        return whole(self.request.query.one(name), event_digits_max) or 0


class TimelineView(View):
    template = "runs/timeline.html"
    parts: ClassVar[tuple[str, ...]] = ("runs/timeline.html",)
    bars_limit = timeline.bars_max
    zoomable = True

    def __init__(self, request: PageRequest, named: RunRef) -> None:
        super().__init__(request, named)
        self._after = self._number("from")
        self._window = None
        if self.zoomable:
            self._window = window_in(request.query.one("begin"), request.query.one("end"))
        self._timeline = timeline.Timeline(self.bars_limit)
        self._more = 0
        self._attempts: list[EndedAttempt] = []
        self._children: list[Run] = []
        self._decisions: list[Decision] = []
        self._run: Run
        self._family_state: tuple[Any, ...] = ()

    async def read(self, run: Run) -> None:
        await self._read_family(run)
        after = self._after
        for _ in range(_pages_max):
            _, found, more = await events.page(*self.on_run, after, 500, timeline.TYPES)
            for event in found:
                if event.event_id <= run.latest_event_id:
                    self._timeline.add(event)
            if not more or self._timeline.full_at is not None or not found:
                return
            after = found[-1].event_id
        self._more = after

    async def apply(self, update: RunUpdate) -> None:
        await self._read_family(update.run)
        if not self._more:
            for event in update.events:
                if event.type in timeline.TYPES:
                    self._timeline.add(event)
        self.stale = True

    async def _read_family(self, run: Run) -> None:
        """Read attempts and child runs, if they may have changed."""
        family_state = (
            run.attempt,
            run.attempts_lost,
            run.status,
            run.descendants_total,
            run.descendants_active,
        )
        self._run = run
        if family_state == self._family_state:
            return
        self._family_state = family_state
        _, attempts = await runs.attempts(*self.on_run)
        self._attempts = attempts.rows
        self._decisions = [decision(entry) for entry in await audit.decisions(self.request.app, run)]
        if run.descendants_total and not self._after:
            page = SeqPage(limits.children_rows_max, omit=OMITTABLE)
            self._children = (await runs.children(*self.on_run, page)).rows
            # Each of many children ends at its own time: do not read all of them again for each.
            self.pause_s = max(message_interval_s, len(self._children) / 500)

    async def _read_signals(self) -> None:
        self._signals = await signals.of_run(*self.on_run, 0, signals_shown, taken=False)

    def values(self) -> dict[str, Any]:
        bars = self._timeline.bars(self._run, self._attempts, self._children)
        if self._after:
            bars = [bar for bar in bars if bar.event_id]
        # The next page starts with the event whose bar exceeded the limit.
        following = self._more if self._timeline.full_at is None else self._timeline.full_at - 1
        return self._waterfall(bars) | {
            "whole_timeline": True,
            "bars_after": following,
            "page_from": self._after,
        }

    def _waterfall(self, bars: list[timeline.Bar]) -> dict[str, Any]:
        return {
            "waterfall": layout(bars, max(now_ms(), self._run.updated_at), self._window),
            "attempts": attempts_of(self._run, self._attempts),
            "failure_of": head.failure,
            "decisions": self._decisions,
        }


class OverviewView(TimelineView):
    """The overview: the newest bars of the timeline, named values, results, and the run's input."""

    template = "runs/overview.html"
    parts = (
        "runs/timeline.html",
        "runs/values.html",
        "runs/signals.html",
        "runs/compensations.html",
        "runs/results.html",
    )
    bars_limit = 5_000
    zoomable = False
    _named_values: Sequence[RunValue] = ()
    _signals: ListPage[Signal] = ListPage([], more=False)
    _compensations: Sequence[Compensation] = ()

    async def read(self, run: Run) -> None:
        await self._read_values()
        await self._read_signals()
        await self._read_compensations(run)
        await self._read_family(run)
        self._timeline = timeline.Timeline(self.bars_limit)
        _, found = await events.before(
            *self.on_run, run.latest_event_id + 1, events_in_overview, timeline.TYPES
        )
        for event in found:
            self._timeline.add(event)
        self._cut = len(found) == events_in_overview

    async def apply(self, update: RunUpdate) -> None:
        await super().apply(update)
        if self._timeline.full_at is not None:
            await self.read(update.run)
        elif any(event.type == CUSTOM and VALUE.encode() in event.payload for event in update.events):
            await self._read_values()
        await self._read_signals()
        await self._read_compensations(update.run)

    async def _read_compensations(self, run: Run) -> None:
        if not run.terminal and len(self._compensations) != (run.compensations or 0):
            _, found = await compensations.of_run(*self.on_run)
            self._compensations = found[::-1]

    async def _read_values(self) -> None:
        self._named_values = await values.of_run(*self.on_run)

    def values(self) -> dict[str, Any]:
        bars = self._timeline.bars(self._run, self._attempts, self._children)
        return self._waterfall(bars[-bars_in_overview:]) | {
            "whole_timeline": False,
            "page_from": 0,
            "named_values": self._named_values,
            "signals": self._signals,
            "compensations": self._compensations,
            "bars_after": self._cut or len(bars) > bars_in_overview,
        }


class TranscriptView(View):
    template = "runs/transcript.html"

    def __init__(self, request: PageRequest, named: RunRef) -> None:
        super().__init__(request, named)
        self._before = self._number("before")
        self._since = self._number("since")
        self._transcript = Transcript()
        self._first = 0
        self._live = not self._before

    async def read(self, run: Run) -> None:
        """Read the latest events, or those from the event `since`, at which the open page starts."""
        latest = run.latest_event_id
        found: list[Event] = []
        if self._since:
            after = self._since - 1
            for _ in range(_pages_max * 4):
                _, page, more = await events.page(*self.on_run, after, 500, transcript.TYPES)
                found += page
                if not more or not page or page[-1].event_id >= latest:
                    break
                after = page[-1].event_id
        else:
            before = min(self._before or latest + 1, latest + 1)
            _, found = await events.before(*self.on_run, before, messages_shown, transcript.TYPES)
        for event in found:
            if event.event_id <= latest:
                self._transcript.add(event)
        self._first = found[0].event_id if found else 0
        self._full = len(found) == messages_shown or sum(len(event.payload) for event in found) > 500_000

    async def apply(self, update: RunUpdate) -> None:
        if self._live:
            for event in update.events:
                self._transcript.add(event)

    def values(self) -> dict[str, Any]:
        return {
            "blocks": self._transcript.whole(),
            "earlier": self._first if self._full and self._first > 1 else 0,
            "newest": self._live,
            "since": self._since or self._first,
        }

    def additions(self) -> tuple[str, Sequence[Any]]:
        return "transcript", self._transcript.new()


class LogView(View):
    template = "runs/log.html"
    parts = ("runs/log.html",)

    def __init__(self, request: PageRequest, named: RunRef) -> None:
        super().__init__(request, named)
        level = request.query.one("level")
        self._wanted = LineFilter(request.query.one("q")[:200], level if level in LEVELS else "")
        self._lines = Lines()
        self._run: Run
        self._earlier = False

    async def read(self, run: Run) -> None:
        self._run = run
        if run.terminal and run.logs is not None:
            return
        before, event_pages = run.latest_event_id + 1, []
        for _ in range(_pages_max):
            _, found = await events.before(*self.on_run, before, 500, log_lines.TYPES)
            if not found:
                break
            event_pages.append(found)
            before = found[0].event_id
        else:
            self._earlier = before > 1
        for page in reversed(event_pages):
            for event in page:
                self._lines.add(event)

    async def apply(self, update: RunUpdate) -> None:
        # The stored log is complete; log events may lack lines.
        stored_lines = update.run.terminal and update.run.logs is not None
        self.stale = self.stale or (stored_lines and not self._run.terminal)
        self._run = update.run
        for event in update.events:
            self._lines.add(event)

    def values(self) -> dict[str, Any]:
        if self._run.terminal and self._run.logs is not None:
            lines, hidden = log_lines.stored_lines(self._run.logs, self._wanted)
        else:
            lines, hidden = self._lines.whole(self._wanted), 0
        return {
            "lines": lines,
            "hidden": hidden,
            "earlier": self._earlier,
            "wanted": self._wanted,
            "levels": LEVELS[1:],
        }

    def additions(self) -> tuple[str, Sequence[Any]]:
        return "log", self._lines.new()


class EventsView(View):
    template = "runs/events.html"
    live = False

    async def read(self, run: Run) -> None:
        self._run, query = run, self.request.query
        self._types = [one for one in query.all("type") if one.isprintable()][:20]
        self._after = self._number("from")
        if query.one("from") == "end":
            self._after = max(run.latest_event_id - rows_shown, 0)
        _, self._found, self._more = await events.page(*self.on_run, self._after, rows_shown, self._types)

    def values(self) -> dict[str, Any]:
        following = self._found[-1].event_id if self._more and self._found else 0
        return {
            "found": self._found,
            "types": self._types,
            "after": self._after,
            "following": following,
            "event_types": [one.type for one in EVENT_TYPES],
        }


class TreeView(View):
    template = "runs/tree.html"
    pause_s = 1.0  # a family may have ten thousand runs, all read again
    parts = ("runs/tree.html",)

    def __init__(self, request: PageRequest, named: RunRef) -> None:
        super().__init__(request, named)
        self._family: list[Run] = []
        self._run: Run

    async def read(self, run: Run) -> None:
        self._run = run
        page = SeqPage(limits.tree_rows_max, omit=OMITTABLE)
        self._family = (await runs.tree(*self.on_run, page)).rows

    async def apply(self, update: RunUpdate) -> None:
        await self.read(update.run)
        self.stale = True

    def values(self) -> dict[str, Any]:
        return {"tree": tree(self._family, self._run), "family_size": len(self._family)}


VIEWS: Final[dict[str, type[View]]] = {
    "overview": OverviewView,
    "timeline": TimelineView,
    "conversation": TranscriptView,
    "log": LogView,
    "events": EventsView,
    "tree": TreeView,
}
TITLES: Final = {
    "overview": "Overview",
    "timeline": "Timeline",
    "conversation": "Conversation",
    "log": "Log",
    "events": "Events",
    "tree": "Family",
}
