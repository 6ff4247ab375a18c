"""Delivers webhook events: many at a time, but few for each webhook."""

import asyncio
from collections import Counter
from contextlib import suppress
from typing import Final

import structlog

from runstead.commands import deliver
from runstead.commands.app import App
from runstead.core import limits
from runstead.core.errors import Error
from runstead.core.webhooks.webhook import Delivery, Webhook
from runstead.ports import metrics
from runstead.ports.notifier import DELIVERY_KEY

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
        self._load: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        self._listed_at: float | None = None

    async def run(self) -> None:
        """Run until the server stops.

        Active attempts then get `grace_s` to end; a cancelled attempt is repeated later.
        """
        with self._app.notifier.subscribe(DELIVERY_KEY) as wake:
            self._wake = wake
            while not self._app.stopping.is_set():
                wake.clear()
                try:
                    await self.tick()
                except Error as trouble:
                    log.warning(
                        "loop has to wait", loop="deliverer", code=trouble.code, reason=trouble.message
                    )
                except Exception:
                    log.exception("loop failed", loop="deliverer")
                with suppress(TimeoutError):
                    async with asyncio.timeout(limits.delivery_poll_s):
                        await wake.wait()
        await self.close()

    async def close(self) -> None:
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=grace_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        await self._egress.close()

    async def idle(self) -> None:
        """Wait until no attempt is active. For tests."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def tick(self) -> None:
        """Start as many due attempts as the limits allow."""
        await self._list_projects()
        while (free := limits.deliveries_max - len(self._tasks)) > 0:
            busy = [name for name, load in self._load.items() if load >= limits.deliveries_per_webhook_max]
            found = await deliver.take(self._app, free, busy)
            for webhook, delivery in found:
                self._start(webhook, delivery)
            if len(found) < free:
                return

    async def _list_projects(self) -> None:
        """Refresh the projects with webhooks, including those that other replicas created. A change of a run
        in one of these projects wakes the deliverer.
        """
        now = asyncio.get_running_loop().time()
        if self._listed_at is None or now - self._listed_at >= limits.hooked_poll_s:
            project_ids = await self._app.store.webhooks.hooked(limits.hooked_projects_max)
            self._app.webhook_projects.replace(project_ids)
            self._listed_at = now

    def _start(self, webhook: Webhook, delivery: Delivery) -> None:
        self._load[webhook.id] += 1
        task = asyncio.ensure_future(self._deliver(webhook, delivery))
        self._tasks.add(task)

        def done(_: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            self._load[webhook.id] -= 1
            if not self._load[webhook.id]:
                del self._load[webhook.id]
            self._wake.set()

        task.add_done_callback(done)

    async def _deliver(self, webhook: Webhook, delivery: Delivery) -> None:
        try:
            outcome = await deliver.deliver(self._app, self._egress, webhook, delivery)
        except Error as trouble:  # the lease of the attempt expires, and the delivery is sent again
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
