"""What is taken from a run's page as a file: values, artifacts, the log, the events. None is ever a page of this origin."""

from collections.abc import AsyncIterator
from typing import Final

from starlette.responses import Response, StreamingResponse

from runstead.commands import artifacts, events
from runstead.commands.runs import RunRef
from runstead.core.errors import Error, not_found
from runstead.core.runs.event import Event
from runstead.core.runs.run import Run
from runstead.http.artifacts import answer, attachment
from runstead.web.framework.form import header
from runstead.web.framework.pages import Pages
from runstead.web.framework.request import Visit
from runstead.web.runs import log_lines
from runstead.web.runs.head import RASTER, VALUES
from runstead.web.runs.page import PLACE, find

pages = Pages()

_NAMES: Final = (*VALUES, "error", "labels")


@pages.get(f"{PLACE}/values/{{name}}")
async def value(visit: Visit) -> Response:
    """One of the run's values, whole, as JSON."""
    run = (await find(visit)).run
    name = visit.path["name"]
    found: bytes | None = getattr(run, name) if name in _NAMES else None
    if found is None:
        raise not_found("Value")
    return Response(found, 200, attachment(f"{run.run_id}-{name}.json"), "application/json")


@pages.get(f"{PLACE}/artifacts/{{name}}")
async def artifact(visit: Visit) -> Response:
    """An artifact's bytes: a picture to be shown, anything else to be kept as a file."""
    named = (await find(visit)).named
    reading = await artifacts.get(visit.app, visit.principal, named, visit.path["name"])
    found = await answer(reading, lambda name: header(visit.headers, name))
    if reading.artifact.media_type.partition(";")[0].strip().lower() in RASTER:
        found.headers["Content-Disposition"] = "inline"
    return found


@pages.get(f"{PLACE}/log")
async def log(visit: Visit) -> Response:
    """The whole log as text: what the run left behind, or what was told of it so far."""
    _, named, run = await find(visit)
    headers = attachment(f"{run.run_id}.log")
    if run.terminal and run.logs is not None:
        return Response(run.logs.encode("utf-8", "replace"), 200, headers, "text/plain; charset=utf-8")

    async def text() -> AsyncIterator[bytes]:
        async for event in _all(visit, named, run, log_lines.TYPES):
            told = log_lines.told_by(event)
            if told is not None:
                yield told[1].encode("utf-8", "replace")

    return StreamingResponse(text(), 200, headers, "text/plain; charset=utf-8")


@pages.get(f"{PLACE}/events.ndjson")
async def ndjson(visit: Visit) -> Response:
    """The events of the chosen types, one a line, as they were told."""
    _, named, run = await find(visit)
    types = tuple(one for one in visit.query.all("type") if one.isprintable())[:20]

    async def lines() -> AsyncIterator[bytes]:
        async for event in _all(visit, named, run, types):
            yield event.payload + b"\n"

    return StreamingResponse(lines(), 200, attachment(f"{run.run_id}-events.ndjson"), "application/x-ndjson")


async def _all(visit: Visit, named: RunRef, run: Run, types: tuple[str, ...]) -> AsyncIterator[Event]:
    """Up to the event that was the latest when this was asked for, a page at a time."""
    after, more = 0, True
    while more and after < run.latest_event_id:
        try:
            _, found, more = await events.page(visit.app, visit.principal, named, after, 500, types)
        except Error:  # deleted meanwhile: the file ends here
            return
        for event in found:
            if event.event_id > run.latest_event_id:
                return
            yield event
        after = found[-1].event_id if found else run.latest_event_id
