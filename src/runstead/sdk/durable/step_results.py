"""The exceptions that handlers catch, and the errors that runs get from them."""

import asyncio
import re
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

import msgspec

from runstead.sdk.durable.history import StepFailure
from runstead.sdk.errors import RunFailed
from runstead.sdk.isolation.failure import CODES as PROCESS_CODES, ProcessFailed
from runstead.sdk.models.run import Run
from runstead.sdk.worker.codes import CODES, SERVER_CODES

T = TypeVar("T")

#: Codes look like OUT_OF_STOCK. Other values of an exception's `code` attribute are ignored.
_CODE: Final = re.compile(r"[A-Z][A-Z0-9_]{0,127}")
#: Codes of a child run that its parent does not get.
_NOT_PASSED_ON: Final = SERVER_CODES | CODES.keys() | PROCESS_CODES.keys()
#: The attribute with which an exception that a step let through names the failed step.
STEP_ATTRIBUTE: Final = "_runstead_step"


class StepFailed(Exception):  # noqa: N818 - as RunFailed: an expected outcome
    """A step failed in its last try. Each later run of the handler raises it again at the same place.

    `code` is the exception's own code, or its type's name. STEP_RESULT_TOO_LARGE, STEP_RESULT_NOT_JSON and
    STEP_RESULT_INVALID: the result could not be stored. TIMEOUT: the last try took too long. `type` is the name of
    the exception's type, and `final`: the run is not retried.
    """

    #: It was made again from the log, and has not the traceback of the step's function.
    from_log = False

    def __init__(self, name: str, step_id: str, failure: StepFailure) -> None:
        super().__init__(f"The step {name!r} failed: {failure.message}")
        self.name = name
        self.step_id = step_id
        self.failure = failure
        self.code = failure.code
        self.type = failure.type
        self.final = failure.final
        self.detail = failure.detail


class ChildFailed(Exception):  # noqa: N818
    """A child run failed or was cancelled. `run` is the child, as it ended.

    `code` is the child's own code, as its handler set it. It is CHILD_FAILED where the server or the SDK set the
    child's code: that one describes the child's attempts, not this run's. It is CHILD_CANCELLED for a cancelled child.
    """

    def __init__(self, run: Run) -> None:
        why = "" if run.error is None else f": {run.error.message}"
        super().__init__(
            f"The run {run.run_id} {'was cancelled' if run.status == 'cancelled' else 'failed'}{why}"
        )
        self.run = run
        own = None if run.error is None or run.error.code in _NOT_PASSED_ON else run.error.code
        self.code = "CHILD_CANCELLED" if run.status == "cancelled" else own or "CHILD_FAILED"


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


class SystemExitError(Exception):
    """A handler, or the function of a step, called `sys.exit`. Without this, that would end the worker."""

    code = "SYSTEM_EXIT"


@contextmanager
def exit_as_error() -> Iterator[None]:
    """Raise SystemExitError in place of SystemExit, which would leave the event loop with every other run."""
    try:
        yield
    except SystemExit as error:
        raise SystemExitError(f"sys.exit({error.code!r}) was called") from error


async def with_timeout(seconds: float | None, work: Awaitable[T]) -> T:
    """Await the work. After `seconds`, cancel it and raise TryTimeoutError."""
    try:
        async with asyncio.timeout(seconds) as timer:
            return await work
    except TimeoutError as error:
        if not timer.expired():
            raise  # raised by the work itself
        raise TryTimeoutError(f"It took longer than {seconds:g} s") from error


class ChangedCode(msgspec.Struct, frozen=True):
    """The code calls another step than the history has; `found` None: no step. `file` and `line` are the call."""

    step_id: str
    expected: str
    found: str | None
    file: str | None = None
    line: int | None = None

    def __str__(self) -> str:
        at = "" if self.file is None else f" ({self.file}:{self.line})"
        found = "the code ends before it" if self.found is None else f"{self.found!r} in the code"
        return f"step {self.step_id} is {self.expected!r} in the log, and {found}{at}"

    def failure(self) -> RunFailed:
        """Return the error that fails the run."""
        return RunFailed(
            f"The code has changed during the run: {self}. Finish such runs with the code that started them, or"
            " retry them from their beginning",
            "NON_DETERMINISTIC",
            msgspec.structs.asdict(self),
        )


def error_code(error: BaseException) -> str:
    """Return the code that the run's error gets: the exception's own code, or its type's name.

    A failed step and a failed child give the code of their cause.
    """
    code = getattr(error, "code", None)
    if isinstance(error, ProcessFailed | StepFailed | ChildFailed) and isinstance(code, str):
        return code
    return code if isinstance(code, str) and _CODE.fullmatch(code) else type(error).__name__


def without_surrogates(text: str) -> str:
    """Replace lone surrogates, which JSON cannot contain."""
    return text.encode("utf-8", "replace").decode()


def is_final(error: Exception) -> bool:
    """Whether a retry of the run would end the same way."""
    if isinstance(error, ProcessFailed):
        return error.final
    cause = error if isinstance(error, RunFailed) else failed_step_of(error)
    return isinstance(cause, RunFailed) or (cause is not None and cause.final)


def failed_step_of(error: BaseException) -> StepFailed | None:
    """Return the failed step that caused this error, None where no step did."""
    for cause in chain_of(error):
        step = cause if isinstance(cause, StepFailed) else getattr(cause, STEP_ATTRIBUTE, None)
        if isinstance(step, StepFailed):
            return step
    return None


def chain_of(error: BaseException) -> Iterator[BaseException]:
    """Yield the exception, its cause, the cause of that, and so on."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        yield cause
        seen.add(id(cause))
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
