"""Calls a handler in the event loop or in a thread, and builds the completion from its outcome."""

import asyncio
import functools
import inspect
import logging
from collections.abc import Callable
from typing import Any, Final

from runstead.sdk.durable.attempt import Attempt
from runstead.sdk.durable.context import Context, RunFailed
from runstead.sdk.durable.step_errors import error_detail
from runstead.sdk.durable.step_results import error_code, exit_as_error, without_surrogates
from runstead.sdk.durable.thread_context import ThreadContext
from runstead.sdk.models.lease import ClaimedRun
from runstead.sdk.models.run import Completed
from runstead.sdk.models.user_types import NOT_JSON
from runstead.sdk.resources import Calls
from runstead.sdk.routes.call import Call
from runstead.sdk.routes.values import hidden_error
from runstead.sdk.worker.codes import CODES, SERVER_CODES
from runstead.sdk.worker.threads import in_thread

logger = logging.getLogger("runstead.sdk.worker.worker")

#: `async def handler(run, ctx: Context)`, or a plain function with a `ThreadContext`, which runs in a thread. The return
#: value is the run's output, any JSON up to 1 MiB. An exception fails the run.
Handler = Callable[[ClaimedRun, Any], Any]

_CODE_CHARS: Final = 128
_MESSAGE_CHARS: Final = 16 * 1024


def blocks(handler: Handler) -> bool:
    """Whether it is a plain function."""
    called = (
        handler
        if inspect.isroutine(handler) or isinstance(handler, functools.partial)
        else type(handler).__call__
    )
    return not inspect.iscoroutinefunction(called)


async def call_handler(handler: Handler, run: ClaimedRun, attempt: Attempt) -> Any:
    with exit_as_error():
        if blocks(handler):
            thread_context = ThreadContext(attempt, asyncio.get_running_loop())
            return await in_thread(lambda: handler(run, thread_context), f"runstead-{run.run_id}")
        return await handler(run, Context(attempt))


def success(run: ClaimedRun, attempt: Attempt, calls: Calls, output: Any) -> Call[Completed]:
    """Return the completion with the handler's output. Where that is not JSON, return one that fails the run."""
    call = calls.runs.complete(run.run_id, output=output, **_reported(attempt))
    try:
        call.content()
    except NOT_JSON as error:
        return failure(run, attempt, calls, RunFailed(f"The result is not JSON: {error}", "RESULT_NOT_JSON"))
    return call


def failure(run: ClaimedRun, attempt: Attempt, calls: Calls, error: BaseException) -> Call[Completed]:
    """Return the completion that fails the run, and log it. A traceback is part of the error's detail only."""
    message = error.message if isinstance(error, RunFailed) else str(error)
    code = error.code if isinstance(error, RunFailed) else error_code(error)
    detail = error_detail(error)
    # A handler that fails its run by RunFailed has decided so. Everything else is for its author.
    decided = isinstance(error, RunFailed) and code not in SERVER_CODES | CODES.keys()
    level = logging.INFO if decided else logging.WARNING
    logger.log(level, "Run %s failed: %s: %s%s", run.run_id, code, message, _traceback(detail))
    text = without_surrogates((message or code or "The handler failed")[:_MESSAGE_CHARS])
    if attempt.codec is not None:
        text, detail = hidden_error(text, detail, attempt.codec)
    return calls.runs.complete(
        run.run_id,
        "failed",
        error_code=code and code[:_CODE_CHARS],
        error_message=text,
        error_detail=detail,
        **_reported(attempt),
    )


def _reported(attempt: Attempt) -> dict[str, Any]:
    """Return what a completion sends of the attempt, whatever its outcome."""
    return {
        "logs": attempt.logs,
        "artifacts": attempt.artifacts or None,
        "exit_code": attempt.exit_code,
        "metadata": attempt.completion_metadata,
        **attempt.fence,
    }


def _traceback(detail: Any) -> str:
    """Return the traceback of an error's detail on lines of its own."""
    text = detail.get("traceback") if isinstance(detail, dict) else None
    return "" if text is None else f"\n{text}"
