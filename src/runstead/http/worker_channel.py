"""The channel of a worker: hints about its runs, as server-sent events."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from runstead.commands import workers
from runstead.commands.worker_channels import HINT_TYPES, Hint, HintType
from runstead.core import limits
from runstead.http.framework.endpoint import Call, Nothing, Routes
from runstead.http.framework.sse import EventStream

routes = Routes("Workers")

_encode = msgspec.json.Encoder().encode
_OPENING: Final = b"retry: %d\n: channel of a worker\n\n" % limits.channel_retry_ms


class WhichHints(msgspec.Struct, frozen=True, kw_only=True):
    """Without `event`, hints of every type. `worker_draining` and `resync` are always sent."""

    event: Annotated[list[HintType], Meta(max_length=len(HINT_TYPES))] = msgspec.field(default_factory=list)


def _frame(hint: Hint) -> bytes:
    members = {name: value for name, value in msgspec.structs.asdict(hint).items() if value is not None}
    del members["type"]
    return b"event: %b\ndata: %b\n\n" % (hint.type.encode(), _encode(members))


async def _frames(pages: AsyncGenerator[list[Hint], None]) -> AsyncGenerator[bytes | None, None]:
    async with aclosing(pages):
        async for hints in pages:
            yield b"".join(map(_frame, hints)) or None


@routes.route(
    "GET",
    "/agent-workers/workers/{worker_id}/channel",
    query=WhichHints,
    answer=None,
    media_type="text/event-stream",
    errors=("NOT_FOUND", "STREAM_LIMIT_REACHED"),
)
async def channel(call: Call[Nothing, WhichHints]) -> EventStream:
    """Follow hints for a worker: claimable runs, and cancels and pauses of runs that it holds.

    `run_available` {targets}, `run_cancelled` and `run_paused` {run_id, attempt}, `worker_draining` (it was removed),
    `resync` (hints may have been lost). A hint may be lost: claims and renewals show everything too.
    """
    app = call.app
    worker = await workers.acting(app, call.principal, call.path["worker_id"])

    async def is_gone() -> bool:
        return await app.store.workers.get(worker.id) is None

    slot = app.open_streams.slot(call.principal, worker.project_id)
    pages = app.worker_channels.follow(worker, is_gone, call.query.event or HINT_TYPES)
    return EventStream(_frames(pages), _OPENING, slot)
