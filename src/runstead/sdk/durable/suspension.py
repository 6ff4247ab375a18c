"""How a handler leaves a run that has to wait: the run waits, no process does."""

from collections.abc import Sequence
from datetime import datetime

import msgspec
from msgspec.structs import replace

from runstead.sdk.routes.runs import WaitReason


class WaitRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a run waits for. `call_id` names the answer; `resume_at` is when it goes on without one; `awaited_run_id`
    is a run whose end is the answer. `asks`: somebody else gives the answer.
    """

    reason: WaitReason
    call_id: str
    what: str
    resume_at: datetime | None = None
    awaited_run_id: str | None = None
    asks: bool = False


class Suspend(BaseException):  # no Exception: a handler that catches those must not keep the run from waiting
    """Leave the handler; it is called again from its beginning once there is an answer, and its steps are not."""

    def __init__(self, wanted: WaitRequest) -> None:
        super().__init__(wanted.what)
        self.wanted = wanted


class Parked(BaseException):  # for the same reason
    """The run waits, and its lease is given back."""


def combine(waits: Sequence[Suspend]) -> Suspend:
    """Of branches that wait at the same time: one wait that ends with the first timer of all.

    A run waits for one answer at a time. What others are asked for comes first, since their answer is refused as long
    as the run does not wait for it; a child's end is found whenever it is looked for.
    """
    wanted = [wait.wanted for wait in waits]
    chosen = min(wanted, key=lambda one: (not one.asks, one.awaited_run_id is None))
    timers = [one.resume_at for one in wanted if one.resume_at is not None]
    return Suspend(replace(chosen, resume_at=min(timers, default=None)))
