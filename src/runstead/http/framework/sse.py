"""An answer that streams server-sent events (WHATWG HTML, "Server-sent events")."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AbstractContextManager, aclosing, nullcontext
from typing import Any, Final

from starlette.responses import Response
from starlette.types import Receive, Scope as AsgiScope, Send

from runstead.core import limits
from runstead.ports import metrics

#: The member of an ASGI scope that holds a function which bounds the send buffer of the connection.
SEND_BUFFER_KEY: Final = "runstead.shrink_send_buffer"
_HEADERS: Final = [
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
    (b"content-type", b"text/event-stream; charset=utf-8"),
]
_HEARTBEAT: Final = b": heartbeat\n\n"


class EventStream(Response):
    """Sends the opening comment, then each frame of `frames`; None sends a heartbeat.

    The opening is sent at once, so that proxies and clients see an open stream before the first event. All is
    sent in the request's own task: Starlette's StreamingResponse costs a second task and a task group per
    follower. For a peer that does not read, the server keeps one frame and little more: a large frame is sent
    in pieces, each of which waits until the earlier ones have left. `slot` counts the stream while it is open.
    """

    def __init__(
        self,
        frames: AsyncGenerator[bytes | None, None],
        opening: bytes = b"",
        slot: AbstractContextManager[None] | None = None,
    ) -> None:
        self.status_code = 200
        self.background = None
        self.raw_headers = [*_HEADERS]  # a copy, since pages add headers
        self._frames = frames
        self._opening = opening
        self._slot = slot or nullcontext()

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        sending = asyncio.current_task()
        assert sending is not None

        def stop(_: "asyncio.Task[Any]") -> None:
            sending.cancel()

        if (shrink := scope.get(SEND_BUFFER_KEY)) is not None:
            shrink()
        disconnected = asyncio.ensure_future(_wait_for_disconnect(receive))
        disconnected.add_done_callback(stop)
        try:
            with self._slot, metrics.streams.track_inprogress():
                async with aclosing(self._frames) as frames:
                    await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                    if self._opening:
                        await send(_body(self._opening))
                    async for frame in frames:
                        if frame is None:
                            await send(_body(_HEARTBEAT))
                        elif len(frame) <= limits.stream_piece_bytes_max:
                            await send(_body(frame))
                        else:
                            await _send_in_pieces(frame, send)
                        del frame  # frees the frame before the next one arrives
                await send(_body(b"", more=False))
        except asyncio.CancelledError:
            if not disconnected.done() or sending.uncancel():
                raise
        finally:
            disconnected.remove_done_callback(stop)
            disconnected.cancel()


async def _send_in_pieces(frame: bytes, send: Send) -> None:
    rest = memoryview(frame)
    while rest:
        await send(_body(rest[: limits.stream_piece_bytes_max]))
        rest = rest[limits.stream_piece_bytes_max :]


def _body(content: bytes | memoryview, *, more: bool = True) -> dict[str, Any]:
    return {"type": "http.response.body", "body": content, "more_body": more}


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
