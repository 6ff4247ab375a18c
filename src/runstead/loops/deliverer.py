"""Delivers webhook events: many at a time, few for each webhook, and a fair share for each project."""

import asyncio
from typing import Final

import structlog

from runstead.commands import deliver
from runstead.commands.app import App
from runstead.core import limits
from runstead.core.errors import Error
from runstead.core.webhooks.webhook import Delivery, Webhook
from runstead.loops.call_slots import CallSlots
from runstead.loops.loop import tick
from runstead.ports import metrics
from runstead.ports.notifier import DELIVERY_KEY, pause

log = structlog.get_logger(__name__)
grace_s: Final = 3.0


class Deliverer:
    """Starts due deliveries: when a change notification arrives, and every `limits.delivery_poll_s`.

    Every replica runs a deliverer; the store gives each delivery to one of them. It has its own outgoing
    connections, so that receivers that do not answer block nothing else.
    """

    def __init__(self, app: App) -> None:
        self._app = app
        self._egress = app.egress.with_own_connections()
        self._wake = asyncio.Event()
        self._slots = CallSlots(limits.deliveries_max, limits.deliveries_per_webhook_max, self._attempt_ended)
        self._listed_at: float | None = None

    def _attempt_ended(self) -> None:
        self._wake.set()

    async def run(self) -> None:
        """Run until the server stops.

        Active attempts then get `grace_s` to end; a cancelled attempt is repeated later.
        """
        metrics.register_loop("deliverer")
        with self._app.notifier.subscribe(DELIVERY_KEY) as wake:
            self._wake = wake
            while not self._app.stopping.is_set():
                wake.clear()
                await tick("deliverer", self.tick)
                await pause(wake, limits.delivery_poll_s)
        await self.close()

    async def close(self) -> None:
        await self._slots.close(grace_s)
        await self._egress.close()

    async def idle(self) -> None:
        """Wait until no attempt is active. For tests."""
        await self._slots.idle()

    async def tick(self) -> int:
        """Start as many due attempts as the limits allow. Returns the number of deliveries found."""
        await self._list_projects()
        all_found = 0
        while self._slots.free:
            share = self._slots.share()
            found = await deliver.take(self._app, share)
            for webhook, delivery in found:
                attempt = self._deliver(webhook, delivery)
                self._slots.start(delivery.id, webhook.id, webhook.project_id, attempt)
            all_found += len(found)
            if len(found) < share.limit:
                break
        return all_found

    async def _list_projects(self) -> None:
        """Refresh the projects with webhooks, including those that other replicas created. A change of a run
        in one of these projects wakes the deliverer.
        """
        now = asyncio.get_running_loop().time()
        if self._listed_at is None or now - self._listed_at >= limits.hooked_poll_s:
            project_ids = await self._app.store.webhooks.hooked(limits.hooked_projects_max)
            self._app.webhook_projects.replace(project_ids)
            self._listed_at = now

    async def _deliver(self, webhook: Webhook, delivery: Delivery) -> None:
        try:
            outcome = await deliver.deliver(self._app, self._egress, webhook, delivery)
        except Error as trouble:
            if trouble.code == "NOT_FOUND":  # the webhook was deleted in the meantime
                return
            # The lease of the attempt expires, and the delivery is sent again.
            log.warning(
                "the outcome of a delivery could not be stored",
                webhook_id=webhook.id,
                delivery_id=delivery.id,
                code=trouble.code,
            )
        except Exception:
            log.exception("delivery failed", webhook_id=webhook.id, delivery_id=delivery.id)
        else:
            metrics.deliveries.labels(outcome).inc()
            if outcome == "disabled":
                log.warning("a webhook was disabled", webhook_id=webhook.id, project_id=webhook.project_id)
