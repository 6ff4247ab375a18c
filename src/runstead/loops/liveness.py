"""Notices workers and push services that went silent. Their runs need nothing of it: leases end by themselves."""

from collections.abc import Sequence

import structlog

from runstead.commands.app import App
from runstead.core import limits
from runstead.core.queue.push_service import PushService
from runstead.core.queue.worker import Worker
from runstead.ports import metrics

log = structlog.get_logger(__name__)


async def watch(app: App) -> int:
    """One bounded look; how many of either went silent, whichever are more. Each silence is told once."""
    workers = await app.store.workers.fell_silent(limits.silent_per_tick_max)
    _tell("worker", workers)
    services = await app.store.push_services.fell_silent(limits.silent_per_tick_max)
    _tell("push_service", services)
    return max(len(workers), len(services))


def _tell(kind: str, silent: Sequence[Worker] | Sequence[PushService]) -> None:
    if silent:
        metrics.silences.labels(kind).inc(len(silent))
        some = [one.id for one in silent[: limits.silent_logged_max]]
        log.warning("not heard of for too long", kind=kind, count=len(silent), some=some)
