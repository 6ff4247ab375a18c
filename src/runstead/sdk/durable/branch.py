"""Positions in a handler: the ids of its steps, in order, and checks that keep concurrent branches apart."""

import contextvars
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from runstead.sdk.durable.suspension import Suspend
from runstead.sdk.errors import RunFailed


class RunningStep:
    """One try of a step. `prefix` names this try alone, so a later try emits its messages again."""

    def __init__(self, name: str, prefix: str) -> None:
        self.name = name
        self._prefix = prefix
        self._count = 0

    def next_emit_id(self, kind: str) -> str:
        self._count += 1
        return f"{self._prefix}/{kind}{self._count}"


#: The step whose function is running here.
_running_step: Final[contextvars.ContextVar[RunningStep | None]] = contextvars.ContextVar(
    "running_step", default=None
)


class Branch:
    """A sequence of steps. The branches of a `gather` run concurrently, and each counts its own steps.

    Ids are numbers from 1. If a `gather` has the id 3, the steps of its second branch are 3.2.1, 3.2.2 and so on.
    """

    def __init__(self, prefix: str = "", root: "Branch | None" = None) -> None:
        self.prefix = prefix
        self._root = root
        self._running: str | None = None
        self._emit_counts: dict[str, int] = {}
        self.count = 0
        #: The wait that ended this branch. It asks for no more steps in this try, whatever the handler catches.
        self.suspended: Suspend | None = None
        #: The try has ended, or another branch of a `first` was chosen. Code that is still running may not ask for steps.
        self.closed = False

    def child(self, step_id: str, number: int) -> "Branch":
        """Return a branch of the `gather` that has this id."""
        return Branch(f"{step_id}.{number}.", self._root or self)

    def next_id(self, name: str) -> str:
        """Return the id of the next step. Raise RunFailed where no step is allowed, Suspend in a suspended branch."""
        self.check(name)
        self.count += 1
        self._emit_counts.clear()
        return f"{self.prefix}{self.count}"

    def check(self, name: str) -> None:
        """Raise RunFailed where the handler cannot be at a step, Suspend in a suspended branch."""
        step = _running_step.get()
        if step is not None:
            raise RunFailed(
                f"{name!r} was called inside the step {step.name!r}: a step has no steps of its own."
                " Call both in the handler",
                "NESTED_STEP",
            )
        if self.closed or (self._root is not None and self._root.closed):
            raise RunFailed(f"{name!r} was called by a try that has ended", "TRY_ENDED")
        if self.suspended is not None:
            raise self.suspended
        if self._running is not None:
            raise RunFailed(
                f"{name!r} was called while {self._running!r} was running: use ctx.gather for concurrent steps,"
                " so that each step has the same id in every try",
                "STEPS_OVERLAP",
            )

    def next_emit_id(self, kind: str) -> str:
        """Return the id of the next message or event.

        It counts from the last step, so steps keep their ids when a new version of the handler emits more.
        """
        self._emit_counts[kind] = self._emit_counts.get(kind, 0) + 1
        return f"{self.prefix}{self.count}/{kind}{self._emit_counts[kind]}"

    @contextmanager
    def running(self, name: str) -> Iterator[None]:
        """Refuse other steps of this branch while the block runs."""
        self._running = name
        try:
            yield
        finally:
            self._running = None

    def suspend(self, suspend: Suspend) -> Suspend:
        """Record why this branch ends, and return the exception to raise."""
        self.suspended = suspend
        return suspend


def running_step() -> RunningStep | None:
    """Return the step whose function is running here."""
    return _running_step.get()


@contextmanager
def in_step(name: str, prefix: str) -> Iterator[None]:
    """Mark the block as the function of a step."""
    token = _running_step.set(RunningStep(name, prefix))
    try:
        yield
    finally:
        _running_step.reset(token)
