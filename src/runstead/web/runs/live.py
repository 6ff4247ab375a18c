"""Live updates of a run's page: one stream for each open page, with the parts that changed."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Final

from msgspec.structs import replace
from starlette.responses import Response

from runstead.commands.followers import RunUpdate
from runstead.core.errors import Error
from runstead.web.framework.form import event_digits_max, header, whole
from runstead.web.framework.live import Message, stream
from runstead.web.framework.pages import Pages
from runstead.web.framework.request import PageRequest
from runstead.web.runs import page as run_page
from runstead.web.runs.head import RecentEvents
from runstead.web.runs.page import RunPage
from runstead.web.runs.views import VIEWS, View

pages = Pages()

#: Upper bound of a stream's traffic: after a large message the next one comes later.
_bytes_per_s: Final = 500_000


@pages.get(f"{run_page.PATH}/live")
async def live(request: PageRequest) -> Response:
    """Stream the changes after `Last-Event-ID`, or after the event `after`, which the page has shown."""
    page = await run_page.load_run(request)
    after = min(_after(request), page.run.latest_event_id)
    page = page._replace(run=replace(page.run, latest_event_id=after))
    return stream(request, page.project, _messages(request, page))


def _after(request: PageRequest) -> int:
    text = (header(request.headers, b"last-event-id") or "").strip() or request.query.one("after", "0")
    number = whole(text, event_digits_max)
    if number is None:
        raise Error("INVALID_REQUEST", "The position in the log must be an event's number")
    return number


async def _messages(request: PageRequest, page: RunPage) -> AsyncGenerator[Message | None, None]:
    """The messages of the stream, starting at the run's `latest_event_id`. None is a heartbeat."""
    state = _PageState(request, page)
    await state.read()
    event_id = page.run.latest_event_id
    async with aclosing(request.app.followers.watch(page.run, event_id)) as updates:
        async for update in updates:
            await state.apply(update or RunUpdate(state.page.run, ()))
            event_id = update.events[-1].event_id if update and update.events else event_id
            html = await state.changed_html()
            if html:
                yield Message("parts", html, event_id)
            elif update is None:
                yield None
            if not state.page.run.terminal:
                await asyncio.sleep(max(state.view.pause_s, len(html) / _bytes_per_s))
    if state.page.run.terminal:
        yield Message("end", "over")


class _PageState:
    """What the page shows, to find the parts that changed."""

    def __init__(self, request: PageRequest, page: RunPage) -> None:
        self.page = page
        self.view: View = VIEWS[run_page.view_of(request)](request, page.named)
        self._request = request
        self._recent = RecentEvents()
        self._part_hashes: dict[str, int] = {}  # of each part as it was last sent

    async def read(self) -> None:
        """Read what the page shows already."""
        await self._recent.read(self._request, self.page.named, self.page.run)
        if self.view.live:
            await self.view.read(self.page.run)
            self.view.values()

    async def apply(self, update: RunUpdate) -> None:
        self.page = self.page._replace(run=update.run)
        for event in update.events:
            self._recent.add(event)
        await self.view.apply(update)

    async def changed_html(self) -> str:
        """The HTML of all parts that changed. static/runs/page.js puts each of them in its place."""
        values = await run_page.head_values(self._request, self.page, self._recent)
        parts = [self._changed_part(template, values) for template in run_page.HEAD_TEMPLATES]
        if self.view.stale:
            self.view.stale = False
            values = run_page.view_values(self.page, self.view)
            parts += [self._changed_part(template, values) for template in self.view.parts]
        else:
            into, additions = self.view.additions()
            if additions:
                parts.append(self._request.fragment("runs/additions.html", into=into, additions=additions))
        return "".join(parts)

    def _changed_part(self, template: str, values: dict[str, Any]) -> str:
        """The part's HTML; empty if it is the same as last time."""
        html = self._request.fragment(template, **values)
        previous, self._part_hashes[template] = self._part_hashes.get(template), hash(html)
        return "" if previous == hash(html) else html
