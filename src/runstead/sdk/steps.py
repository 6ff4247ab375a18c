"""What steps are made of: their ids, their results, and what can go wrong with them."""

import contextvars
import typing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from runstead.sdk.history import Failure
from runstead.sdk.run import Run
from runstead.sdk.telling import RunFailed


class Inside:
    """The try of a step that is under way. Its `place` is of this try alone: what is done anew is told anew."""

    def __init__(self, name: str, place: str) -> None:
        self.name = name
        self._place = place
        self._count = 0

    def told_id(self, kind: str) -> str:
        self._count += 1
        return f"{self._place}/{kind}{self._count}"


_inside: contextvars.ContextVar[Inside | None] = contextvars.ContextVar("inside", default=None)


class StepFailed(Exception):  # noqa: N818 - as RunFailed: an outcome, not an accident
    """A step whose last try failed. The same is raised when the handler runs again."""

    def __init__(self, name: str, step_id: str, failure: Failure) -> None:
        super().__init__(f"The step {name!r} failed: {failure.message}")
        self.name = name
        self.step_id = step_id
        self.code = failure.code


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


class Branch:
    """A line of steps, one after the other; branches that run at the same time count for themselves."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._count = 0
        self._told: dict[str, int] = {}

    def next_id(self, name: str) -> str:
        outer = _inside.get()
        if outer is not None:
            raise RuntimeError(
                f"{name!r} was asked for inside of the step {outer.name!r}: a step is done or not done, and has no steps"
                " of its own. Ask for both in the handler."
            )
        self._count += 1
        self._told.clear()
        return f"{self._prefix}{self._count}"

    def told_id(self, kind: str) -> str:
        """The id of what is told here next. It counts from the last step: steps keep their ids where a handler is
        taught to tell more.
        """
        self._told[kind] = self._told.get(kind, 0) + 1
        return f"{self._prefix}{self._count}/{kind}{self._told[kind]}"


def inside() -> Inside | None:
    """The step that is under way here."""
    return _inside.get()


@contextmanager
def nested(name: str, place: str) -> Iterator[None]:
    """Inside of a step."""
    token = _inside.set(Inside(name, place))
    try:
        yield
    finally:
        _inside.reset(token)


def changed(step_id: str, known: str, name: str) -> RunFailed:
    return RunFailed(
        f"The code has changed under the run: its step {step_id} was {known!r}, and is {name!r} now. Finish such runs"
        " with the code that began them, or retry them from their beginning",
        "NON_DETERMINISTIC",
        {"step_id": step_id, "was": known, "is": name},
    )


def code_of(error: BaseException) -> str:
    """As the run's error tells it."""
    code = getattr(error, "code", None)
    return code if isinstance(code, str) and code else type(error).__name__


def decoded(value: Any, function: Callable[..., Any]) -> Any:
    """A stored result as the function's return annotation reads it, where it has one that can be read."""
    try:
        wanted = typing.get_type_hints(function).get("return", Any)
        return msgspec.convert(value, wanted)
    except (TypeError, NameError, AttributeError):
        return value
