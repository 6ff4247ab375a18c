"""What becomes of steps: their results, and what can go wrong with them."""

import asyncio
import re
import typing
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import msgspec

from runstead.sdk.durable.emitter import RunFailed
from runstead.sdk.durable.history import StepFailure
from runstead.sdk.isolation.failure import ProcessFailed
from runstead.sdk.models.run import Run

T = TypeVar("T")

#: A step's end is an event, and the server takes events below 256 KiB.
RESULT_BYTES_MAX: Final = 255 * 1024
MESSAGE_CHARS_MAX: Final = 4096
#: A code for programs. Whatever else an exception may call its `code` is none.
_CODE: Final = re.compile(r"[A-Z][A-Z0-9_]{0,127}")


class StepFailed(Exception):  # noqa: N818 - as RunFailed: an outcome, not an accident
    """A step whose last try failed. The same is raised when the handler runs again.

    `code` is the error's own, or its type's name; STEP_RESULT_TOO_LARGE and STEP_RESULT_NOT_JSON tell of results that
    cannot be kept, TIMEOUT of a last try that took too long. `final`: no other try of the run is worth it.
    """

    def __init__(self, name: str, step_id: str, failure: StepFailure) -> None:
        super().__init__(f"The step {name!r} failed: {failure.message}")
        self.name = name
        self.step_id = step_id
        self.code = failure.code
        self.final = failure.final
        self.detail = failure.detail


class ChildFailed(Exception):  # noqa: N818
    """A child run that failed or was cancelled; `run` is what became of it."""

    def __init__(self, run: Run) -> None:
        why = "" if run.error is None else f": {run.error.message}"
        super().__init__(
            f"The run {run.run_id} {'was cancelled' if run.status == 'cancelled' else 'failed'}{why}"
        )
        self.run = run
        self.code = "CHILD_CANCELLED" if run.status == "cancelled" else "CHILD_FAILED"


class WaitTimeout(TimeoutError):  # noqa: N818
    """What was waited for did not come in time."""

    code = "WAIT_TIMEOUT"


class TryTimeoutError(Exception):
    """A try that was stopped at its `timeout_seconds`."""

    code = "TIMEOUT"


class ResultNotStoredError(Exception):
    """A result that cannot be kept. Trying again would do the work again, and help nothing."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


async def with_timeout(seconds: float | None, work: Awaitable[T]) -> T:
    """TryTimeoutError after so many seconds; the work is then cancelled."""
    try:
        async with asyncio.timeout(seconds) as timer:
            return await work
    except TimeoutError as error:
        if not timer.expired():
            raise  # the work's own
        raise TryTimeoutError(f"It took longer than {seconds:g} s") from error


def changed(step_id: str, known: str, name: str | None) -> RunFailed:
    """`name` None: the code asks for nothing there."""
    now = "is not asked for now" if name is None else f"is {name!r} now"
    return RunFailed(
        f"The code has changed under the run: its step {step_id} was {known!r}, and {now}. Finish such runs"
        " with the code that began them, or retry them from their beginning",
        "NON_DETERMINISTIC",
        {"step_id": step_id, "was": known, "is": name},
    )


def error_code(error: BaseException) -> str:
    """As the run's error tells it."""
    if isinstance(error, ProcessFailed):
        return error.code
    code = getattr(error, "code", None)
    return code if isinstance(code, str) and _CODE.fullmatch(code) else type(error).__name__


def step_failure(error: Exception) -> StepFailure:
    """What is kept of it. RunFailed, and a result that cannot be kept, are final."""
    message = (str(error) or type(error).__name__)[:MESSAGE_CHARS_MAX].encode("utf-8", "replace").decode()
    if isinstance(error, RunFailed):
        return StepFailure(message, error.code or "RunFailed", final=True, detail=error.detail)
    return StepFailure(message, error_code(error), final=isinstance(error, ResultNotStoredError))


def is_final(error: Exception) -> bool:
    """Whether another try would come to the same."""
    if isinstance(error, ProcessFailed):
        return error.final
    cause = error if isinstance(error, RunFailed) else failed_step_of(error)
    return isinstance(cause, RunFailed) or (cause is not None and cause.final)


def failed_step_of(error: BaseException) -> StepFailed | None:
    """The failed step from which this error came, where one did."""
    seen: set[int] = set()
    found: BaseException | None = error
    while found is not None and id(found) not in seen:
        if isinstance(found, StepFailed):
            return found
        seen.add(id(found))
        found = found.__cause__ or (None if found.__suppress_context__ else found.__context__)
    return None


def encode_result(result: Any) -> msgspec.Raw:
    """ResultNotStoredError where it is no JSON, or too much."""
    try:
        text = msgspec.json.encode(result)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ResultNotStoredError(f"Its result is not JSON: {error}", "STEP_RESULT_NOT_JSON") from error
    if len(text) > RESULT_BYTES_MAX:
        raise ResultNotStoredError(
            f"Its result has {len(text)} bytes, and at most {RESULT_BYTES_MAX} are kept: store it elsewhere, and"
            " return where it is",
            "STEP_RESULT_TOO_LARGE",
        )
    return msgspec.Raw(text)


def decode_result(value: Any, function: Callable[..., Any]) -> Any:
    """A kept result as the function's return annotation reads it, where it has one that can be read."""
    try:
        wanted = typing.get_type_hints(function).get("return", Any)
    except (TypeError, NameError, AttributeError):
        return value
    if wanted is Any:
        return value
    try:
        return msgspec.convert(value, wanted, str_keys=True)
    except (TypeError, msgspec.ValidationError):
        return value
