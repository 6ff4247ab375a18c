"""Parts of a page that change while it is looked at: HTML over server-sent events (WHATWG HTML), for htmx.

A page is told at most ten times a second, however much happens; and a stream ends after some minutes, so that whoever's
session has ended does not go on reading: the browser opens it again, and is asked who it is.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final, NamedTuple

from runstead.commands.app import App
from runstead.http.framework.sse import EventStream

pace_s: Final = 0.1
life_s: Final = 300.0


class Told(NamedTuple):
    """What goes into the element with `sse-swap="name"`. `number` is where to go on after a break: the browser brings it
    back as `Last-Event-ID`, and page.js leaves out what has one that was told already. None is a sign of life.
    """

    name: str
    html: str
    number: int | None = None


def frame(told: Told) -> bytes:
    lines = "".join(f"data: {line}\n" for line in told.html.replace("\r", "\n").split("\n"))
    number = "" if told.number is None else f"id: {told.number}\n"
    return f"{number}event: {told.name}\n{lines}\n".encode()


def stream(app: App, parts: AsyncGenerator[Told | None, None]) -> EventStream:
    """The answer to `hx-ext="sse" sse-connect="…"`."""

    async def frames() -> AsyncGenerator[bytes | None, None]:
        deadline = asyncio.get_running_loop().time() + life_s
        async with aclosing(parts) as told:
            async for one in told:
                yield b": still here\n\n" if one is None else frame(one)
                if asyncio.get_running_loop().time() > deadline or app.stopping.is_set():
                    return

    return EventStream(frames(), b": a page\nretry: 1000\n\n")
