"""The answer that streams server-sent events (WHATWG HTML, "Server-sent events")."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Final

from starlette.responses import Response
from starlette.types import Receive, Scope as AsgiScope, Send

from runstead.ports import metrics

_HEADERS: Final = [
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
    (b"content-type", b"text/event-stream; charset=utf-8"),
]
_HEARTBEAT: Final = b": heartbeat\n\n"


class EventStream(Response):
    """Sends the opening comment, then what `frames` yields, a heartbeat for None, until it ends or the client hangs up.

    The opening comes at once, so that a proxy or a client sees an open stream before the first event. Everything is sent
    in the request's own task: Starlette's way costs each follower another one that makes the frames, and a task group
    around both.
    """

    def __init__(self, frames: AsyncGenerator[bytes | None, None], opening: bytes = b"") -> None:
        self.status_code = 200
        self.background = None
        self.raw_headers = [*_HEADERS]  # its own: a page's answer gets more of them
        self._frames = frames
        self._opening = opening

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's
        sending = asyncio.current_task()
        assert sending is not None

        def stop(_: "asyncio.Task[Any]") -> None:
            sending.cancel()

        hang_up = asyncio.ensure_future(_hang_up(receive))
        hang_up.add_done_callback(stop)
        try:
            with metrics.streams.track_inprogress():
                async with aclosing(self._frames) as frames:
                    await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                    if self._opening:
                        await send(_body(self._opening))
                    async for frame in frames:
                        await send(_body(_HEARTBEAT if frame is None else frame))
                        del frame  # or it would stay until the next one
                await send(_body(b"", more=False))
        except asyncio.CancelledError:
            if not hang_up.done() or sending.uncancel():
                raise
        finally:
            hang_up.remove_done_callback(stop)
            hang_up.cancel()


def _body(content: bytes, *, more: bool = True) -> dict[str, Any]:
    return {"type": "http.response.body", "body": content, "more_body": more}


async def _hang_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
