"""Follows the cancels of a project, so that a handler that sends nothing learns at once that its run was cancelled."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Final

from runstead.sdk.async_client import AsyncClient
from runstead.sdk.errors import RunsteadError
from runstead.sdk.worker.lease_renewal import Renewals

logger = logging.getLogger("runstead.sdk.worker.worker")

#: From the first claimed run to the stream: a worker that only tries something out opens none.
_BEGIN_S: Final = 0.5
#: After a refusal, or an outage that outlasts the client's retries.
_AGAIN_S: Final = 15.0


class CancelWatch:
    """One stream of the cancelled runs of a project, for a worker.

    A cancel of a held run, and a gap in the stream, renew leases before they are due: the answers to the renewals
    decide. Where the server does not answer, or refuses the stream, leases are renewed when they are due.
    """

    def __init__(
        self, client: AsyncClient, renewals: Renewals, sleep: Callable[[float], Awaitable[object]]
    ) -> None:
        self._client = client
        self._renewals = renewals
        self._sleep = sleep
        self._following: asyncio.Task[None] | None = None

    def start(self, project: str | None) -> None:
        """Follow the project, unless this watch does. Call it for each claimed run."""
        if self._following is None and project is not None:
            self._following = asyncio.create_task(self._follow(project))

    def close(self) -> None:
        if self._following is not None:
            self._following.cancel()

    async def _follow(self, project: str) -> None:
        await self._sleep(_BEGIN_S)
        while True:
            # The server does not know the cursor "none": the stream begins with a resync, which stands for the cancels
            # before it was opened.
            cancels = self._client.notifications.follow(project, after="none", status="cancelled")
            try:
                async with aclosing(cancels):
                    async for one in cancels:
                        self._renewals.renew_now(one.run_id)
            except RunsteadError as error:
                logger.debug("Cancels are not followed: %s", error)
            await self._sleep(_AGAIN_S)
