"""Parts of a page that are updated live: HTML over server-sent events (WHATWG HTML), for htmx.

A page receives at most ten messages a second. A stream ends after `stream_max_s`, so that a session that has
ended stops reading: the browser reconnects and is authenticated again.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final, NamedTuple

from runstead.core.identity.project import Project
from runstead.http.framework.sse import EventStream
from runstead.web.framework.request import PageRequest

message_interval_s: Final = 0.1
stream_max_s: Final = 300.0


class Message(NamedTuple):
    """One server-sent event: `html` replaces the content of the element with `sse-swap="name"`.

    `event_id` is the position after which a reconnecting browser continues: it sends it as `Last-Event-ID`,
    and page.js skips messages that it has seen.
    """

    name: str
    html: str
    event_id: int | None = None


def frame(message: Message) -> bytes:
    """The message in the format of server-sent events."""
    lines = "".join(f"data: {line}\n" for line in message.html.replace("\r", "\n").split("\n"))
    id_line = "" if message.event_id is None else f"id: {message.event_id}\n"
    return f"{id_line}event: {message.name}\n{lines}\n".encode()


def stream(
    request: PageRequest, project: Project, messages: AsyncGenerator[Message | None, None]
) -> EventStream:
    """The response to `hx-ext="sse" sse-connect="…"`. None among the messages is a heartbeat.

    STREAM_LIMIT_REACHED.
    """
    app = request.app

    async def frames() -> AsyncGenerator[bytes | None, None]:
        deadline = asyncio.get_running_loop().time() + stream_max_s
        async with aclosing(messages):
            async for message in messages:
                yield b": heartbeat\n\n" if message is None else frame(message)
                if asyncio.get_running_loop().time() > deadline or app.stopping.is_set():
                    return

    slot = app.open_streams.slot(request.principal, project.id)
    return EventStream(frames(), b": connected\nretry: 1000\n\n", slot)
