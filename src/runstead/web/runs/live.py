"""A run's page kept up to date: one stream a page, of what has changed since the page was made."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Final

from msgspec.structs import replace
from starlette.responses import Response

from runstead.commands.followers import RunUpdate
from runstead.core.errors import Error
from runstead.web.framework.form import header
from runstead.web.framework.live import Told, stream
from runstead.web.framework.pages import Pages
from runstead.web.framework.request import Visit
from runstead.web.runs.head import Recent
from runstead.web.runs.page import HEAD, PLACE, Found, below, find, head, view_of
from runstead.web.runs.views import VIEWS, View

pages = Pages()

#: A message of this size takes a second of the stream: large parts are told less often.
_bytes_per_s: Final = 500_000


@pages.get(f"{PLACE}/live")
async def live(visit: Visit) -> Response:
    """Goes on after `Last-Event-ID`, or else after the event `after`, up to which the page shows everything."""
    found = await find(visit)
    after = min(_after(visit), found.run.latest_event_id)
    return stream(visit.app, _changes(visit, found._replace(run=replace(found.run, latest_event_id=after))))


def _after(visit: Visit) -> int:
    told = (header(visit.headers, b"last-event-id") or "").strip() or visit.query.one("after", "0")
    if not (told.isascii() and told.isdigit() and len(told) <= 8):
        raise Error("INVALID_REQUEST", "The place in the log must be the number of an event")
    return int(told)


async def _changes(visit: Visit, found: Found) -> AsyncGenerator[Told | None, None]:
    """What is to be told, from the run as it was at the event after which it goes on."""
    changes = _Changes(visit, found)
    await changes.begin()
    number = found.run.latest_event_id
    async with aclosing(visit.app.followers.watch(found.run, number)) as sights:
        async for sight in sights:
            await changes.take(sight or RunUpdate(changes.found.run, ()))
            number = sight.events[-1].event_id if sight and sight.events else number
            html = await changes.html()
            if html:
                yield Told("parts", html, number)
            elif sight is None:
                yield None
            if not changes.found.run.terminal:
                await asyncio.sleep(max(changes.view.pause_s, len(html) / _bytes_per_s))
    if changes.found.run.terminal:
        yield Told("end", "over")


class _Changes:
    """What a page shows, and which of it is no longer so."""

    def __init__(self, visit: Visit, found: Found) -> None:
        self.found = found
        self._visit = visit
        self._recent = Recent()
        self.view: View = VIEWS[view_of(visit)](visit, found.named)
        self._told: dict[str, int] = {}  # a sum of each part as it was told last

    async def begin(self) -> None:
        """Read what the page shows already."""
        await self._recent.read(self._visit, self.found.named, self.found.run)
        await self.view.read(self.found.run)
        self.view.values()

    async def take(self, sight: RunUpdate) -> None:
        self.found = self.found._replace(run=sight.run)
        for event in sight.events:
            self._recent.take(event)
        await self.view.take(sight)

    async def html(self) -> str:
        """All parts that have changed: run.js puts them where they belong."""
        shown = await head(self._visit, self.found, self._recent)
        found = [self._part(template, shown) for template in HEAD]
        if self.view.whole:
            self.view.whole = False
            shown = below(self.found, self.view)
            found += [self._part(template, shown) for template in self.view.parts]
        else:
            into, joins = self.view.joins()
            if joins:
                found.append(self._visit.fragment("runs/parents.html", into=into, joins=joins))
        return "".join(found)

    def _part(self, template: str, shown: dict[str, Any]) -> str:
        html = self._visit.fragment(template, **shown)
        told, self._told[template] = self._told.get(template), hash(html)
        return "" if told == hash(html) else html
