"""Has one replica lead: takes the lead where it is free, renews it, and gives it up when the server stops."""

import asyncio
import os
import secrets
import socket

import structlog

from runstead.commands.app import App
from runstead.core import limits
from runstead.core.errors import Error
from runstead.loops.loop import pause, tick
from runstead.ports import metrics
from runstead.ports.notifier import LEADER_KEY

log = structlog.get_logger(__name__)
_lease_ms = round(limits.leader_lease_s * 1000)


class Leader:
    """Writes `app.standing`. Woken by a hint when another gives up the lead; else it looks by itself."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._term = 0  # the one that was won last; 0 once another replica was seen to lead
        self._first = True
        self.owner = f"{socket.gethostname()}/{os.getpid()}/{secrets.token_hex(4)}"

    async def run(self) -> None:
        """Until the server stops; then another replica may lead at once."""
        metrics.register_loop("leader")
        with self._app.notifier.subscribe(LEADER_KEY) as hint:
            while not self._app.stopping.is_set():
                hint.clear()
                looked = await tick("leader", self.look)
                await pause(hint, limits.leader_poll_s if looked else limits.leader_retry_s)
        await self.resign()

    async def look(self) -> int:
        """Ask the store once. What it answers counts from before it was asked: since then it may have taken any time,
        and so may this process have, which can be stopped and continued.
        """
        leader_state = self._app.leader_state
        until = leader_state.clock() + limits.leader_lease_s - limits.leader_margin_s
        try:
            async with asyncio.timeout(limits.leader_lease_s):  # an answer that comes later is of no use
                lead = await self._app.store.leadership.lead(self.owner, _lease_ms)
        except TimeoutError:
            raise Error("STORE_BUSY", "The store did not tell in time who leads") from None
        mine = lead.owner == self.owner
        if mine:
            leader_state.hold(lead.term, until)
        else:
            leader_state.follow(lead.term)
        self._tell(lead.term if mine else 0)
        return 1

    def _tell(self, term: int) -> None:
        """Log a change; not that the only replica leads from its start on."""
        if term == self._term and not self._first:
            return
        if self._term:
            log.warning("this replica has lost the lead", term=self._term)
        if term and not self._first:
            log.info("this replica leads from now on", term=term)
        self._term, self._first = term, False

    async def resign(self) -> None:
        """Where the store does not take it, the lead runs out by itself."""
        self._app.leader_state.follow(self._app.leader_state.term)
        try:
            async with asyncio.timeout(limits.leader_poll_s):
                await self._app.store.leadership.resign(self.owner)
        except (Error, TimeoutError) as trouble:
            log.warning("the lead was not given up, it runs out by itself", reason=str(trouble))
        self._app.notifier.publish([LEADER_KEY])
