"""Downloads of a run: values, artifacts, log and events. None is ever rendered as a page of this origin."""

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
from runstead.web.framework.request import PageRequest
from runstead.web.runs import log_lines
from runstead.web.runs.head import RASTER, VALUES
from runstead.web.runs.page import PATH, load_run

pages = Pages()

_NAMES: Final = (*VALUES, "error", "labels")


@pages.get(f"{PATH}/values/{{name}}")
async def value(request: PageRequest) -> Response:
    """One of the run's values, complete, as JSON."""
    run = (await load_run(request)).run
    name = request.path["name"]
    found: bytes | None = getattr(run, name) if name in _NAMES else None
    if found is None:
        raise not_found("Value")
    return Response(found, 200, attachment(f"{run.run_id}-{name}.json"), "application/json")


@pages.get(f"{PATH}/artifacts/{{name}}")
async def artifact(request: PageRequest) -> Response:
    """An artifact's content: images are shown inline, anything else is an attachment."""
    named = (await load_run(request)).named
    reading = await artifacts.get(*request.caller, named, request.path["name"])
    found = await answer(reading, lambda name: header(request.headers, name))
    if reading.artifact.media_type.partition(";")[0].strip().lower() in RASTER:
        found.headers["Content-Disposition"] = "inline"
    return found


@pages.get(f"{PATH}/log")
async def log(request: PageRequest) -> Response:
    """The whole log as text: the stored log of an ended run, else the log events so far."""
    _, named, run = await load_run(request)
    headers = attachment(f"{run.run_id}.log")
    if run.terminal and run.logs is not None:
        return Response(run.logs.encode("utf-8", "replace"), 200, headers, "text/plain; charset=utf-8")

    async def text() -> AsyncIterator[bytes]:
        async for event in _all(request, named, run, log_lines.TYPES):
            entry = log_lines.log_text(event)
            if entry is not None:
                yield entry[1].encode("utf-8", "replace")

    return StreamingResponse(text(), 200, headers, "text/plain; charset=utf-8")


@pages.get(f"{PATH}/events.ndjson")
async def ndjson(request: PageRequest) -> Response:
    """The events of the chosen types as NDJSON, with their original payloads."""
    _, named, run = await load_run(request)
    types = tuple(one for one in request.query.all("type") if one.isprintable())[:20]

    async def lines() -> AsyncIterator[bytes]:
        async for event in _all(request, named, run, types):
            yield event.payload + b"\n"

    return StreamingResponse(lines(), 200, attachment(f"{run.run_id}-events.ndjson"), "application/x-ndjson")


async def _all(request: PageRequest, named: RunRef, run: Run, types: tuple[str, ...]) -> AsyncIterator[Event]:
    """The events up to the latest one at the time of the request, read page by page."""
    after, more = 0, True
    while more and after < run.latest_event_id:
        try:
            _, found, more = await events.page(*request.caller, named, after, 500, types)
        except Error:  # the run was deleted meanwhile: the file ends here
            return
        for event in found:
            if event.event_id > run.latest_event_id:
                return
            yield event
        after = found[-1].event_id if found else run.latest_event_id
