"""A handler's place: lines of steps, one after the other, and what keeps them apart."""

import contextvars
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from runstead.sdk.durable.emitter import RunFailed
from runstead.sdk.durable.suspension import Suspend


class RunningStep:
    """The try of a step that is under way. Its `place` is of this try alone: what is done anew is told anew."""

    def __init__(self, name: str, place: str) -> None:
        self.name = name
        self._place = place
        self._count = 0

    def next_emit_id(self, kind: str) -> str:
        self._count += 1
        return f"{self._place}/{kind}{self._count}"


#: The step that the code runs running_step of.
_running_step: Final[contextvars.ContextVar[RunningStep | None]] = contextvars.ContextVar(
    "running_step", default=None
)


class Branch:
    """A line of steps; branches of a `gather` run at the same time, and count for themselves.

    Ids are numbers from 1; below the `gather` that is 3, those of its second branch are 3.2.1, 3.2.2 and so on.
    """

    def __init__(self, prefix: str = "", trunk: "Branch | None" = None) -> None:
        self._prefix = prefix
        self._trunk = trunk
        self._busy: str | None = None
        self._told: dict[str, int] = {}
        self.count = 0
        #: The wait for which this branch was left: it goes no further in this try, whatever catches what.
        self.left: Suspend | None = None
        #: Of the trunk: the try has ended, and whatever it has left running has no say.
        self.over = False

    def below(self, place: str, number: int) -> "Branch":
        """The branch of a `gather` at this place."""
        return Branch(f"{place}.{number}.", self._trunk or self)

    def next_id(self, name: str) -> str:
        """The id of what comes next. RunFailed where there cannot be a next one here; Suspend where it was left."""
        outer = _running_step.get()
        if outer is not None:
            raise RunFailed(
                f"{name!r} was asked for inside of the step {outer.name!r}: a step is done or not done, and has no steps"
                " of its own. Ask for both in the handler",
                "NESTED_STEP",
            )
        if (self._trunk or self).over:
            raise RunFailed(f"{name!r} was asked for by a try that has ended", "TRY_ENDED")
        if self.left is not None:
            raise self.left
        if self._busy is not None:
            raise RunFailed(
                f"{name!r} was asked for while {self._busy!r} was under way: what runs at the same time is ctx.gather's,"
                " so that it has the same place each time",
                "STEPS_OVERLAP",
            )
        self.count += 1
        self._told.clear()
        return f"{self._prefix}{self.count}"

    def next_emit_id(self, kind: str) -> str:
        """The id of what is told here next. It counts from the last step: steps keep their ids where a handler is
        taught to tell more.
        """
        self._told[kind] = self._told.get(kind, 0) + 1
        return f"{self._prefix}{self.count}/{kind}{self._told[kind]}"

    @contextmanager
    def busy(self, name: str) -> Iterator[None]:
        """Nothing else of this branch begins meanwhile."""
        self._busy = name
        try:
            yield
        finally:
            self._busy = None

    def leave(self, suspend: Suspend) -> Suspend:
        """To be raised."""
        self.left = suspend
        return suspend


def running_step() -> RunningStep | None:
    """The step that is under way here."""
    return _running_step.get()


@contextmanager
def in_step(name: str, place: str) -> Iterator[None]:
    """Code of a step."""
    token = _running_step.set(RunningStep(name, place))
    try:
        yield
    finally:
        _running_step.reset(token)
