"""Sends webhooks what they asked for: many at a time, few for any one of them."""

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
    """Woken by a hint when a delivery may be due; also looks by itself, once a second.

    Every replica runs one: the store gives each delivery to one of them. Its way out is its own, so that receivers
    which do not answer hold up nothing else.
    """

    def __init__(self, app: App) -> None:
        self._app = app
        self._egress = app.egress.with_own_connections()
        self._hint = asyncio.Event()
        self._load: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        self._listed_at: float | None = None

    async def run(self) -> None:
        """Until the server stops. Attempts under way get a moment to end; one that is cut off is made again."""
        with self._app.notifier.subscribe(DELIVERY_KEY) as hint:
            self._hint = hint
            while not self._app.stopping.is_set():
                hint.clear()
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
                        await hint.wait()
        await self.close()

    async def close(self) -> None:
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=grace_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        await self._egress.close()

    async def idle(self) -> None:
        """Until every attempt under way has ended. For tests."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def tick(self) -> None:
        """One bounded look: begin as many attempts as there is room for."""
        await self._list_projects()
        while (free := limits.deliveries_max - len(self._tasks)) > 0:
            busy = [name for name, load in self._load.items() if load >= limits.deliveries_per_webhook_max]
            found = await deliver.take(self._app, free, busy)
            for webhook, delivery in found:
                self._start(webhook, delivery)
            if len(found) < free:
                return

    async def _list_projects(self) -> None:
        """Learn of webhooks that other replicas made: whoever changes a run of theirs here gives a hint."""
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
            self._hint.set()

        task.add_done_callback(done)

    async def _deliver(self, webhook: Webhook, delivery: Delivery) -> None:
        try:
            outcome = await deliver.deliver(self._app, self._egress, webhook, delivery)
        except Error as trouble:  # its lease ends by itself, and it is sent again
            log.warning(
                "a delivery could not be noted",
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
