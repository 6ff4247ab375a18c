"""The parts of a run's page below its head, one of which is shown at a time: read once, then kept up with its events.

None reads a log whole: each asks for the types that it shows, and for a bounded number of them.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Final

from runstead.commands import events, runs
from runstead.commands.followers import RunUpdate
from runstead.commands.runs import RunRef
from runstead.core.clock import now_ms
from runstead.core.errors import Error
from runstead.core.runs.event import Event
from runstead.core.runs.event_types import EVENT_TYPES
from runstead.core.runs.run import Run
from runstead.core.runs.transition import EndedAttempt
from runstead.web.framework.live import pace_s
from runstead.web.framework.request import Visit
from runstead.web.runs import head, log_lines, timeline, transcript
from runstead.web.runs.family import tree
from runstead.web.runs.log_lines import Lines
from runstead.web.runs.transcript import Talk
from runstead.web.runs.waterfall import drawn

said_shown: Final = 300
rows_shown: Final = 100
bars_in_overview: Final = 60
events_in_overview: Final = 400
_pages_max: Final = 4  # of events that one part reads


class View:
    """A part. `template` shows it whole, from `values`, and `parts` what of it changes; `joins` tells what is to be added to
    what stands there, where it grows so; `whole` is whether `parts` must be shown anew, `pause_s` how long until the next
    look.
    """

    template: ClassVar[str]
    parts: ClassVar[tuple[str, ...]] = ()
    pause_s: float = pace_s

    def __init__(self, visit: Visit, named: RunRef) -> None:
        self.visit = visit
        self.named = named
        self.whole = False

    async def read(self, run: Run) -> None:
        """What there is up to the run's latest event."""

    async def take(self, sight: RunUpdate) -> None:
        """The run as it stands now, and the events that have come."""

    def values(self) -> dict[str, Any]:
        return {}

    def joins(self) -> tuple[str, Sequence[Any]]:
        """Where to add, and what."""
        return "", ()

    def _number(self, name: str) -> int:
        text = self.visit.query.one(name)
        return int(text) if text.isascii() and text.isdigit() and len(text) <= 8 else 0


class TimelineView(View):
    template = "runs/timeline.html"
    parts: ClassVar[tuple[str, ...]] = ("runs/timeline.html",)
    room = timeline.bars_max

    def __init__(self, visit: Visit, named: RunRef) -> None:
        super().__init__(visit, named)
        self._after = self._number("from")
        self._found = timeline.Timeline(self.room)
        self._more = 0
        self._attempts: list[EndedAttempt] = []
        self._children: list[Run] = []
        self._run: Run
        self._shape: tuple[Any, ...] = ()

    async def read(self, run: Run) -> None:
        await self._read_family(run)
        app, principal, after = self.visit.app, self.visit.principal, self._after
        for _ in range(_pages_max):
            _, found, more = await events.page(app, principal, self.named, after, 500, timeline.TYPES)
            for event in found:
                if event.event_id <= run.latest_event_id:
                    self._found.add(event)
            if not more or self._found.full_at is not None or not found:
                return
            after = found[-1].event_id
        self._more = after

    async def take(self, sight: RunUpdate) -> None:
        await self._read_family(sight.run)
        if not self._more:
            for event in sight.events:
                if event.type in timeline.TYPES:
                    self._found.add(event)
        self.whole = True

    async def _read_family(self, run: Run) -> None:
        """Attempts and the runs below, where they may have changed."""
        shape = (run.attempt, run.attempts_lost, run.status, run.descendants_total, run.descendants_active)
        self._run = run
        if shape == self._shape:
            return
        self._shape = shape
        app, principal = self.visit.app, self.visit.principal
        _, self._attempts = await runs.attempts(app, principal, self.named)
        if run.descendants_total and not self._after:
            self._children = await runs.children(app, principal, self.named)
            # Each of very many may end at a time of its own: they are not read again for every one.
            self.pause_s = max(pace_s, len(self._children) / 500)

    def values(self) -> dict[str, Any]:
        bars = self._found.bars(self._run, self._attempts, self._children)
        if self._after:
            bars = [bar for bar in bars if bar.event_id]
        # The event that found no room begins the next page.
        following = self._more if self._found.full_at is None else self._found.full_at - 1
        return self._drawn(bars) | {"whole_timeline": True, "bars_after": following}

    def _drawn(self, bars: list[timeline.Bar]) -> dict[str, Any]:
        return {
            "fall": drawn(bars, max(now_ms(), self._run.updated_at)),
            "tries": head.tries(self._run, self._attempts),
        }


class Overview(TimelineView):
    """Of the timeline, the newest: how far the run has come."""

    template = "runs/overview.html"
    parts = ("runs/timeline.html", "runs/results.html")
    room = 5_000

    async def read(self, run: Run) -> None:
        await self._read_family(run)
        self._found = timeline.Timeline(self.room)
        _, found = await events.before(
            self.visit.app,
            self.visit.principal,
            self.named,
            run.latest_event_id + 1,
            events_in_overview,
            timeline.TYPES,
        )
        for event in found:
            self._found.add(event)
        self._cut = len(found) == events_in_overview

    async def take(self, sight: RunUpdate) -> None:
        await super().take(sight)
        if self._found.full_at is not None:
            await self.read(sight.run)

    def values(self) -> dict[str, Any]:
        bars = self._found.bars(self._run, self._attempts, self._children)
        return self._drawn(bars[-bars_in_overview:]) | {
            "whole_timeline": False,
            "bars_after": self._cut or len(bars) > bars_in_overview,
        }


class TalkView(View):
    template = "runs/transcript.html"

    def __init__(self, visit: Visit, named: RunRef) -> None:
        super().__init__(visit, named)
        self._before = self._number("before")
        self._since = self._number("since")
        self._talk = Talk()
        self._first = 0
        self._live = not self._before

    async def read(self, run: Run) -> None:
        """The last of what was said; where the page says since which event it shows it, from there on."""
        app, principal, latest = self.visit.app, self.visit.principal, run.latest_event_id
        found: list[Event] = []
        if self._since:
            after = self._since - 1
            for _ in range(_pages_max * 4):
                _, page, more = await events.page(app, principal, self.named, after, 500, transcript.TYPES)
                found += page
                if not more or not page or page[-1].event_id >= latest:
                    break
                after = page[-1].event_id
        else:
            before = min(self._before or latest + 1, latest + 1)
            _, found = await events.before(app, principal, self.named, before, said_shown, transcript.TYPES)
        for event in found:
            if event.event_id <= latest:
                self._talk.add(event)
        self._first = found[0].event_id if found else 0
        self._full = len(found) == said_shown or sum(len(event.payload) for event in found) > 500_000

    async def take(self, sight: RunUpdate) -> None:
        if self._live:
            for event in sight.events:
                self._talk.add(event)

    def values(self) -> dict[str, Any]:
        return {
            "said": self._talk.whole(),
            "earlier": self._first if self._full and self._first > 1 else 0,
            "newest": self._live,
            "since": self._since or self._first,
        }

    def joins(self) -> tuple[str, Sequence[Any]]:
        return "talk", self._talk.new()


class LogView(View):
    template = "runs/log.html"
    parts = ("runs/log.html",)

    def __init__(self, visit: Visit, named: RunRef) -> None:
        super().__init__(visit, named)
        self._search = visit.query.one("q")[:200]
        self._lines = Lines()
        self._run: Run
        self._earlier = False

    async def read(self, run: Run) -> None:
        self._run = run
        if run.terminal and run.logs is not None:
            return
        before, pages = run.latest_event_id + 1, []
        for _ in range(_pages_max):
            _, found = await events.before(
                self.visit.app, self.visit.principal, self.named, before, 500, log_lines.TYPES
            )
            if not found:
                break
            pages.append(found)
            before = found[0].event_id
        else:
            self._earlier = before > 1
        for page in reversed(pages):
            for event in page:
                self._lines.add(event)

    async def take(self, sight: RunUpdate) -> None:
        # What the run left behind is the log: what was told meanwhile is only as much of it as came through.
        left = sight.run.terminal and sight.run.logs is not None
        self.whole = self.whole or (left and not self._run.terminal)
        self._run = sight.run
        for event in sight.events:
            self._lines.add(event)

    def values(self) -> dict[str, Any]:
        if self._run.terminal and self._run.logs is not None:
            lines, hidden = log_lines.left(self._run.logs, self._search)
        else:
            lines, hidden = self._lines.whole(self._search), 0
        return {"lines": lines, "hidden": hidden, "earlier": self._earlier, "search": self._search}

    def joins(self) -> tuple[str, Sequence[Any]]:
        return "log", self._lines.new()


class EventsView(View):
    template = "runs/events.html"

    async def read(self, run: Run) -> None:
        self._run, query = run, self.visit.query
        self._types = [one for one in query.all("type") if one.isprintable()][:20]
        self._after = self._number("from")
        if query.one("from") == "end":
            self._after = max(run.latest_event_id - rows_shown, 0)
        _, self._found, self._more = await events.page(
            self.visit.app, self.visit.principal, self.named, self._after, rows_shown, self._types
        )

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
    pause_s = 1.0  # a family may have ten thousand runs, and each of them may have changed
    parts = ("runs/tree.html",)

    def __init__(self, visit: Visit, named: RunRef) -> None:
        super().__init__(visit, named)
        self._family: list[Run] = []
        self._run: Run

    async def read(self, run: Run) -> None:
        self._run = run
        try:
            self._family = await runs.tree(self.visit.app, self.visit.principal, self.named)
        except Error as error:
            if error.code != "FORBIDDEN":  # a credential that is bound to one run sees it alone
                raise
            self._family = [run]

    async def take(self, sight: RunUpdate) -> None:
        await self.read(sight.run)
        self.whole = True

    def values(self) -> dict[str, Any]:
        return {"tree": tree(self._family, self._run), "family_size": len(self._family)}


VIEWS: Final[dict[str, type[View]]] = {
    "overview": Overview,
    "timeline": TimelineView,
    "conversation": TalkView,
    "log": LogView,
    "events": EventsView,
    "tree": TreeView,
}
NAMES: Final = {
    "overview": "Overview",
    "timeline": "Timeline",
    "conversation": "Conversation",
    "log": "Log",
    "events": "Events",
    "tree": "Family",
}
