"""The channel of a worker, with which a handler that sends nothing learns at once that its run was cancelled or paused."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Final

from runstead.sdk.async_client import AsyncClient
from runstead.sdk.errors import RunsteadError
from runstead.sdk.worker.lease_renewal import Renewals

logger = logging.getLogger("runstead.sdk.worker.worker")

#: After a refusal, for example of a server without channels, or an outage that outlasts the client's retries.
_AGAIN_S: Final = 15.0
_EVENTS: Final = ("run_cancelled", "run_paused", "worker_draining", "resync")


class WorkerChannel:
    """Follows the hints for a worker over one connection.

    A cancel or a pause of a held run renews its lease before it is due: the answer decides. A gap renews all leases.
    Where there is no channel, leases are renewed when they are due.
    """

    def __init__(self, renewals: Renewals, sleep: Callable[[float], Awaitable[object]]) -> None:
        self._renewals = renewals
        self._sleep = sleep
        self._worker: tuple[AsyncClient, str] | None = None
        self._following: asyncio.Task[None] | None = None

    def open(self, client: AsyncClient, worker_id: str) -> None:
        """Follow the hints for this worker, unless it does. Call it for each claimed run. `client` has its token."""
        if self._worker != (client, worker_id):
            self.close()
            self._worker = client, worker_id
            self._following = asyncio.create_task(self._follow(client, worker_id))

    def close(self) -> None:
        if self._following is not None:
            self._following.cancel()

    async def _follow(self, client: AsyncClient, worker_id: str) -> None:
        while True:
            try:
                async with aclosing(client.workers.channel(worker_id, events=_EVENTS)) as hints:
                    async for hint in hints:
                        self._renewals.renew_now(hint.run_id)
            except RunsteadError as error:
                logger.debug("The worker has no channel: %s", error)
            await self._sleep(_AGAIN_S)
