"""Leader election of this replica: takes a free lead, renews it, and resigns when the server stops."""

import asyncio

import structlog

from runstead.commands.app import App
from runstead.core import limits
from runstead.core.errors import Error
from runstead.loops.loop import tick
from runstead.ports import metrics
from runstead.ports.notifier import LEADER_KEY, pause

log = structlog.get_logger(__name__)
_lease_ms = round(limits.leader_lease_s * 1000)


class Leader:
    """Maintains `app.leader_state`.

    It asks for the lead when another replica resigns, and every `limits.leader_poll_s`.
    """

    def __init__(self, app: App, owner: str) -> None:
        """`owner` identifies this replica among all."""
        self._app = app
        self.owner = owner
        self._term = 0  # the term of the own lead; 0 while another replica leads
        self._first = True

    async def run(self) -> None:
        """Run until the server stops, then resign, so that another replica can lead at once."""
        metrics.register_loop("leader")
        with self._app.notifier.subscribe(LEADER_KEY) as wake:
            while not self._app.stopping.is_set():
                wake.clear()
                succeeded = await tick("leader", self.request)
                await pause(wake, limits.leader_poll_s if succeeded else limits.leader_retry_s)
        await self.resign()

    async def request(self) -> int:
        """Ask the store for the lead once. The lease counts from before the request, because the store or
        this process may be delayed for any time in between.
        """
        leader_state = self._app.leader_state
        until = leader_state.clock() + limits.leader_lease_s - limits.leader_margin_s
        try:
            async with asyncio.timeout(limits.leader_lease_s):  # a later answer would be outdated
                lead = await self._app.store.leadership.lead(self.owner, _lease_ms)
        except TimeoutError:
            raise Error("STORE_BUSY", "The store did not answer the leader election in time") from None
        mine = lead.owner == self.owner
        if mine:
            leader_state.hold(lead.term, until)
        else:
            leader_state.follow(lead.term)
        self._log_change(lead.term if mine else 0)
        return 1

    def _log_change(self, term: int) -> None:
        """Log that this replica gained or lost the lead. A lead from the start on is not logged."""
        if term == self._term and not self._first:
            return
        if self._term:
            log.warning("this replica has lost the lead", term=self._term)
        if term and not self._first:
            log.info("this replica leads from now on", term=term)
        self._term, self._first = term, False

    async def resign(self) -> None:
        """Give up the lead. If the store does not accept it, the lease expires later."""
        self._app.leader_state.follow(self._app.leader_state.term)
        try:
            async with asyncio.timeout(limits.leader_poll_s):
                await self._app.store.leadership.resign(self.owner)
        except (Error, TimeoutError) as trouble:
            log.warning("this replica could not resign; its lease expires later", reason=str(trouble))
        self._app.notifier.publish([LEADER_KEY])
