"""Finds workers and push services without heartbeats.

It only reports them: leases of their runs expire separately.
"""

from collections.abc import Sequence

import structlog

from runstead.commands.app import App
from runstead.core import limits
from runstead.core.queue.push_service import PushService
from runstead.core.queue.worker import Worker
from runstead.ports import metrics

log = structlog.get_logger(__name__)


async def watch(app: App) -> int:
    """Log a bounded number of silent workers and services, each silence once.

    Returns the larger of both numbers.
    """
    workers = await app.store.workers.fell_silent(limits.silent_per_tick_max)
    _report("worker", workers)
    services = await app.store.push_services.fell_silent(limits.silent_per_tick_max)
    _report("push_service", services)
    return max(len(workers), len(services))


def _report(kind: str, silent: Sequence[Worker] | Sequence[PushService]) -> None:
    if silent:
        metrics.silences.labels(kind).inc(len(silent))
        some = [one.id for one in silent[: limits.silent_logged_max]]
        log.warning("heartbeats have stopped", kind=kind, count=len(silent), some=some)
