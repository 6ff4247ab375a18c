"""Outcomes of steps: encoded results, failures, and the exceptions that handlers catch."""

import asyncio
import re
import typing
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import msgspec

from runstead.sdk.durable.history import StepFailure
from runstead.sdk.errors import RunFailed
from runstead.sdk.isolation.failure import ProcessFailed
from runstead.sdk.models.run import Run

T = TypeVar("T")

#: The result is part of an event, and the server accepts events below 256 KiB.
RESULT_BYTES_MAX: Final = 255 * 1024
MESSAGE_CHARS_MAX: Final = 4096
#: Codes look like OUT_OF_STOCK. Other values of an exception's `code` attribute are ignored.
_CODE: Final = re.compile(r"[A-Z][A-Z0-9_]{0,127}")


class StepFailed(Exception):  # noqa: N818 - as RunFailed: an expected outcome
    """A step failed in its last try. Each later run of the handler raises it again at the same place.

    `code` is the exception's own code, or its type's name. STEP_RESULT_TOO_LARGE and STEP_RESULT_NOT_JSON: the
    result could not be stored. TIMEOUT: the last try took too long. `final`: the run is not retried.
    """

    def __init__(self, name: str, step_id: str, failure: StepFailure) -> None:
        super().__init__(f"The step {name!r} failed: {failure.message}")
        self.name = name
        self.step_id = step_id
        self.code = failure.code
        self.final = failure.final
        self.detail = failure.detail


class ChildFailed(Exception):  # noqa: N818
    """A child run failed or was cancelled. `run` is the child, as it ended."""

    def __init__(self, run: Run) -> None:
        why = "" if run.error is None else f": {run.error.message}"
        super().__init__(
            f"The run {run.run_id} {'was cancelled' if run.status == 'cancelled' else 'failed'}{why}"
        )
        self.run = run
        self.code = "CHILD_CANCELLED" if run.status == "cancelled" else "CHILD_FAILED"


class WaitTimeout(TimeoutError):  # noqa: N818
    """An approval or an event did not come within its `timeout_seconds`."""

    code = "WAIT_TIMEOUT"


class TryTimeoutError(Exception):
    """A try was stopped at its `timeout_seconds`."""

    code = "TIMEOUT"


class ResultNotStoredError(Exception):
    """A result cannot be stored. It is not retried: another try would do the work again, with the same result."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


async def with_timeout(seconds: float | None, work: Awaitable[T]) -> T:
    """Await the work. After `seconds`, cancel it and raise TryTimeoutError."""
    try:
        async with asyncio.timeout(seconds) as timer:
            return await work
    except TimeoutError as error:
        if not timer.expired():
            raise  # raised by the work itself
        raise TryTimeoutError(f"It took longer than {seconds:g} s") from error


def non_deterministic(step_id: str, stored: str, name: str | None) -> RunFailed:
    """Return the error for code that asks for another step than the history has; `name` None: for no step."""
    now = "is not called now" if name is None else f"is {name!r} now"
    return RunFailed(
        f"The code has changed during the run: its step {step_id} was {stored!r}, and {now}. Finish such runs"
        " with the code that started them, or retry them from their beginning",
        "NON_DETERMINISTIC",
        {"step_id": step_id, "was": stored, "is": name},
    )


def error_code(error: BaseException) -> str:
    """Return the code that the run's error gets: the exception's own code, or its type's name."""
    if isinstance(error, ProcessFailed):
        return error.code
    code = getattr(error, "code", None)
    return code if isinstance(code, str) and _CODE.fullmatch(code) else type(error).__name__


def without_surrogates(text: str) -> str:
    """Replace lone surrogates, which JSON cannot contain."""
    return text.encode("utf-8", "replace").decode()


def step_failure(error: Exception) -> StepFailure:
    """Return what is stored of an exception. RunFailed and ResultNotStoredError are final."""
    message = without_surrogates((str(error) or type(error).__name__)[:MESSAGE_CHARS_MAX])
    if isinstance(error, RunFailed):
        return StepFailure(message, error.code or "RunFailed", final=True, detail=error.detail)
    return StepFailure(message, error_code(error), final=isinstance(error, ResultNotStoredError))


def is_final(error: Exception) -> bool:
    """Whether a retry of the run would end the same way."""
    if isinstance(error, ProcessFailed):
        return error.final
    cause = error if isinstance(error, RunFailed) else failed_step_of(error)
    return isinstance(cause, RunFailed) or (cause is not None and cause.final)


def failed_step_of(error: BaseException) -> StepFailed | None:
    """Return the failed step that caused this error, None where no step did."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        if isinstance(cause, StepFailed):
            return cause
        seen.add(id(cause))
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return None


def encode_result(result: Any) -> msgspec.Raw:
    """Encode a step's result as JSON. Raise ResultNotStoredError where it is not JSON, or too large."""
    try:
        text = msgspec.json.encode(result)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ResultNotStoredError(f"Its result is not JSON: {error}", "STEP_RESULT_NOT_JSON") from error
    if len(text) > RESULT_BYTES_MAX:
        raise ResultNotStoredError(
            f"Its result has {len(text)} bytes, and at most {RESULT_BYTES_MAX} are stored: store the data"
            " elsewhere, and return its address",
            "STEP_RESULT_TOO_LARGE",
        )
    return msgspec.Raw(text)


def decode_result(value: Any, function: Callable[..., Any]) -> Any:
    """Convert a stored result to the function's return annotation, where it has one that can be resolved."""
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
