"""Suspension: how a handler is ended while its run waits. The run waits, no process does."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from runstead.sdk.errors import RunFailed
from runstead.sdk.models.run import OpenEvent
from runstead.sdk.routes.runs import WaitReason

#: As many open approvals as the server takes for a run.
_OPEN_APPROVALS: Final = 100
#: As many open events as the server takes for a run.
_OPEN_EVENTS: Final = 100
#: How often a run that waits for the first of several children polls for their ends.
_POLL_S: Final = 30.0


class Form(msgspec.Struct, frozen=True, kw_only=True):
    """A form that a handler asks with."""

    conversation_id: str
    title: str
    fields: list[dict[str, Any]]
    description: str | None = None


class WaitRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a run waits for.

    `call_id` identifies the result. `tool_name` is shown to people. `resume_at` is when the run
    resumes without a result. `awaited_run_id` is a run whose end is the result. `needs_answer`: a person or another
    system has to resume the run. `open_approvals`: call ids of the approvals that concurrent branches wait for.
    `open_events`: events of which a signal resumes the run. `blocked`: the code differs from the run's log.
    `form`: the run waits for a response to this form.
    """

    reason: WaitReason
    call_id: str
    tool_name: str
    resume_at: datetime | None = None
    awaited_run_id: str | None = None
    needs_answer: bool = False
    blocked: bool = False
    open_approvals: tuple[str, ...] = ()
    open_events: tuple[OpenEvent, ...] = ()
    form: Form | None = None

    @property
    def approvals(self) -> tuple[str, ...]:
        """The call ids of all approvals that it waits for."""
        if self.open_approvals or self.reason != "approval":
            return self.open_approvals
        return (self.call_id,)


class Suspend(BaseException):
    """Ends the handler. It is called again from its beginning when the wait is over; finished steps are not.

    A BaseException, so that a handler that catches Exception does not keep the run from waiting.
    """

    def __init__(self, request: WaitRequest) -> None:
        super().__init__(
            f"The run waits ({request.tool_name}), and this try of its handler ends: `finally`, `except BaseException`"
            " and `with` blocks run now, and every call of the context in them is refused. They run again at the real"
            " end. Catch Exception, which a wait is not, and put effects into steps"
        )
        self.request = request


class Parked(BaseException):
    """The run waits, and its lease is given back. A BaseException for the same reason as Suspend."""


def combine(waits: Sequence[Suspend]) -> Suspend:
    """Combine the waits of concurrent branches into one, which ends with the first of their timers.

    A run waits for one result at a time, but any open approval or event can be answered. A branch that is blocked comes
    first, so that it is shown, and then a wait that needs an answer: the server refuses an answer that the run does not
    wait for. A child's end is found whenever its run is read.
    """
    requests = [wait.request for wait in waits]
    chosen = min(
        requests, key=lambda one: (not one.blocked, not one.needs_answer, one.awaited_run_id is None)
    )
    approvals = [call for one in requests for call in one.approvals]
    timers = [one.resume_at for one in requests if one.resume_at is not None]
    several = tuple(approvals[:_OPEN_APPROVALS]) if approvals != [chosen.call_id] else ()
    events = tuple(event for one in requests for event in one.open_events)[:_OPEN_EVENTS]
    return Suspend(
        replace(chosen, resume_at=min(timers, default=None), open_approvals=several, open_events=events)
    )


def combine_first(waits: Sequence[Suspend], now: datetime) -> Suspend:
    """Combine waits of which one is enough: each of them can end the combined one.

    The server watches one child, where no answer is awaited; for other children the run polls.
    """
    requests = [wait.request for wait in waits]
    if len(requests) > 1 and any(one.form is not None for one in requests):
        raise RunFailed(
            "`ctx.ask` cannot be one of several waits of `ctx.first`: a form is the only thing that its run waits for",
            "FORM_IN_FIRST",
        )
    combined = combine(waits).request
    if combined.blocked:
        return Suspend(combined)
    if sum(one.needs_answer for one in requests) > 1:
        combined = replace(combined, tool_name="first")
    children = sum(one.awaited_run_id is not None for one in requests)
    if children > 1 or (children and combined.needs_answer):
        poll_at = now + timedelta(seconds=_POLL_S)
        combined = replace(combined, resume_at=min(combined.resume_at or poll_at, poll_at))
    return Suspend(combined)
