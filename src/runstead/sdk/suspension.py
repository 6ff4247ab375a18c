"""How a handler leaves a run that has to wait: the run waits, no process does."""

from datetime import datetime

import msgspec

from runstead.sdk.routes.runs import WaitReason


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What a run waits for. `call_id` names the answer; `resume_at` is when it goes on without one; `awaited_run_id`
    is a run whose end is the answer.
    """

    reason: WaitReason
    call_id: str
    what: str
    resume_at: datetime | None = None
    awaited_run_id: str | None = None


class Suspend(BaseException):  # no Exception: a handler that catches those must not keep the run from waiting
    """Leave the handler; it is called again from its beginning once there is an answer, and its steps are not."""

    def __init__(self, wanted: Wanted) -> None:
        super().__init__(wanted.what)
        self.wanted = wanted


class Parked(BaseException):  # for the same reason
    """The run waits, and its lease is given back."""


def first(waits: list[Suspend]) -> Suspend:
    """Of branches that wait at the same time, the one whose timer ends first; else the one that asked first."""

    def order(wait: Suspend) -> tuple[bool, float]:
        at = wait.wanted.resume_at
        return at is not None, 0.0 if at is None else at.timestamp()

    return min(waits, key=order)
