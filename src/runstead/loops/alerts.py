"""Evaluates alert rules that are due."""

import structlog

from runstead.commands.alerts import evaluate_due
from runstead.commands.app import App

log = structlog.get_logger(__name__)


async def evaluate(app: App) -> int:
    """Evaluate a bounded number of rules, earliest first. Returns their number."""
    return await evaluate_due(
        app, lambda alert, error: log.warning("alert not measured", alert=alert.id, code=error.code)
    )
