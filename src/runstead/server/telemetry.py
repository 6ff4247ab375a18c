"""Logging of the server, on stderr."""

import logging
import sys
from typing import Any

import structlog

from runstead.core import trace_context
from runstead.core.identity.tenant import current_request_id


def log_to_stderr() -> None:
    """Log one line per event: readable on a terminal, JSON otherwise.

    stdout is for the output of commands.
    """
    renderer: Any = structlog.processors.JSONRenderer()
    if sys.stderr.isatty():
        # If rich is installed, its tracebacks would show all local variables, including bodies, credentials
        # and secrets.
        renderer = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(
        processors=[
            add_request_id,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([] if sys.stderr.isatty() else [structlog.processors.format_exc_info]),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


def add_request_id(_: Any, __: str, event: Any) -> Any:
    """Add the id of the request that the current task answers, and of its trace, to a line of the log."""
    request_id, context = current_request_id.get(), trace_context.current.get()
    if request_id is not None:
        event["request_id"] = request_id
    if context is not None:
        event["trace_id"] = context[3:35]  # 00-<trace id>-…
    return event
