"""Failures of steps and runs: what is stored of an exception, and how it is made again from that."""

from contextlib import suppress
from typing import Any, Final, cast

import msgspec

from runstead.sdk.durable.history import StepFailure
from runstead.sdk.durable.step_options import Raises
from runstead.sdk.durable.step_results import (
    STEP_ATTRIBUTE,
    ChildFailed,
    ResultNotStoredError,
    StepFailed,
    error_code,
    without_surrogates,
)
from runstead.sdk.durable.tracebacks import traceback_of
from runstead.sdk.errors import RunFailed
from runstead.sdk.isolation.failure import ProcessFailed
from runstead.sdk.models.user_types import NOT_JSON
from runstead.sdk.models.value import Codec, packed
from runstead.sdk.routes.values import HIDDEN_MESSAGE

MESSAGE_CHARS_MAX: Final = 4096
#: The end of a traceback that is stored with a failed step, and with a failed run.
STEP_TRACEBACK_CHARS_MAX: Final = 8 * 1024
TRACEBACK_CHARS_MAX: Final = 64 * 1024
#: The arguments of an exception that are stored with a failed step. Larger ones are left out.
ARGS_BYTES_MAX: Final = 16 * 1024


def step_failure(error: Exception) -> StepFailure:
    """Return what is stored of an exception. RunFailed and ResultNotStoredError are final."""
    message = without_surrogates((str(error) or type(error).__name__)[:MESSAGE_CHARS_MAX])
    if isinstance(error, RunFailed):
        return StepFailure(
            message=message,
            code=error.code or "RunFailed",
            final=True,
            detail=error.detail,
            type=type(error).__name__,
        )
    return StepFailure(
        message=message,
        code=error_code(error),
        final=isinstance(error, ResultNotStoredError),
        type=type(error).__name__,
        args=_stored_args(error),
        traceback=without_surrogates(traceback_of(error))[-STEP_TRACEBACK_CHARS_MAX:],
    )


def hidden_failure(failure: StepFailure, codec: Codec) -> StepFailure:
    """Return what is stored of a failure with a codec: it is encoded in the detail, and only its code and type are
    plain.
    """
    detail = packed(failure, codec)
    return StepFailure(
        message=HIDDEN_MESSAGE, code=failure.code, final=failure.final, detail=detail, type=failure.type
    )


def _stored_args(error: Exception) -> list[Any] | None:
    """Return the exception's arguments. None where they are not the same after a conversion to JSON and back."""
    try:
        encoded = msgspec.json.encode(error.args)
        args = msgspec.json.decode(encoded)
    except NOT_JSON:
        return None
    return args if len(encoded) <= ARGS_BYTES_MAX and tuple(args) == error.args else None


def passes_through(error: Exception, raises: Raises, step: StepFailed) -> bool:
    """Whether the handler gets this exception as itself. Record on it which step failed."""
    if not isinstance(error, raises):
        return False
    setattr(error, STEP_ATTRIBUTE, step)
    return True


def stored_error(step: StepFailed, raises: Raises) -> Exception:
    """Return the exception of a step that failed in an earlier try: one of the types in `raises`, or StepFailed.

    An exception is made again as pickle does it: its type is called with its stored arguments. Where they were not
    JSON, or the type refuses them, it is made without its `__init__`, and its message is its only argument.
    """
    failure = step.failure
    for allowed in raises if isinstance(raises, tuple) else (raises,):
        kind = _named(failure.type, allowed)
        if kind is not None:
            step.from_log = True
            error = _made_again(kind, failure)
            setattr(error, STEP_ATTRIBUTE, step)
            return error
    return step


def _made_again(kind: type[Exception], failure: StepFailure) -> Exception:
    error: Any = None
    if failure.args is not None:
        with suppress(Exception):  # of the type's own __init__
            error = kind(*failure.args)
    if error is None:
        error = kind.__new__(kind, failure.message)
        error.args = (failure.message,)
    if isinstance(error, RunFailed):
        RunFailed.__init__(error, failure.message, failure.code, failure.detail)
    elif error_code(error) != failure.code:
        with suppress(AttributeError):  # of a property
            error.code = failure.code
    return cast(Exception, error)


def _named(name: str | None, allowed: type[Exception]) -> type[Exception] | None:
    """Return the type of this name: `allowed`, or a type derived from it."""
    if allowed.__name__ == name:
        return allowed
    found = (_named(name, derived) for derived in allowed.__subclasses__())
    return next((one for one in found if one is not None), None)


def error_detail(error: BaseException) -> Any:
    """Return the detail that the run's error gets: the one that was raised, or the exception's type and traceback."""
    if isinstance(error, RunFailed | ProcessFailed):
        return error.detail
    name, stored = type(error).__name__, None
    if isinstance(error, StepFailed):
        if error.detail is not None:
            return error.detail
        name, stored = error.type or error.code or name, error.failure.traceback
    else:
        step = getattr(error, STEP_ATTRIBUTE, None)
        stored = step.failure.traceback if isinstance(step, StepFailed) and step.from_log else None
    text = without_surrogates(traceback_of(error, stored))[-TRACEBACK_CHARS_MAX:]
    detail: dict[str, Any] = {"type": name, "traceback": text}
    if isinstance(error, ChildFailed):
        detail["child_run_id"] = error.run.run_id
        if error.run.error is not None and error.code == error.run.error.code:
            detail["type"] = error.run.error.type or name
    return detail
