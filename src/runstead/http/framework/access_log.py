"""The access log: one line for each API request that took as long as the setting says."""

import structlog

from runstead.core.identity.tenant import AUTHENTICATION, tenant

log = structlog.get_logger(__name__)


def write(method: str, route: str, status: int, took_s: float, size: int, request_id: str | None) -> None:
    """Log a response. `route` has the names of parameters instead of their values: a path may contain the secret of a
    trigger, and a query anything. `size`: bytes of the body.
    """
    caller = tenant.get()
    log.info(
        "request",
        method=method,
        route=route,
        status=status,
        ms=round(took_s * 1000, 1),
        bytes=size,
        tenant=None if caller == AUTHENTICATION else caller or None,
        request_id=request_id,
    )
