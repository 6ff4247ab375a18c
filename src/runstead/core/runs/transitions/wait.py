"""Wait for something from outside, and resume."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from runstead.core import limits
from runstead.core.errors import Error
from runstead.core.runs import event
from runstead.core.runs.run import Run, StoredReason, WaitingReason
from runstead.core.runs.signal import AwaitedEvent, Signal, awaited_in, encode_awaited
from runstead.core.runs.transition import Receipt, Transition
from runstead.core.runs.transitions.machine import (
    NO_LEASE,
    NO_WAIT,
    RUNNING,
    WAITING,
    Fence,
    attempt_ended,
    log_full,
    not_active,
    parked,
    rewrite,
)

_encode = msgspec.json.Encoder().encode
_call_ids = msgspec.json.Decoder(tuple[str, ...]).decode
NO_SIGNALS: Final[Mapping[str, Signal]] = {}


def wait(
    run: Run,
    *,
    now: int,
    reason: WaitingReason,
    tool_call_id: str | None,
    tool_name: str | None,
    resume_at: int | None,
    expires_at: int | None,
    fence: Fence,
    earlier: Receipt | None = None,
    awaited_run_id: str | None = None,
    approvals: Sequence[str] = (),
    events: Sequence[AwaitedEvent] = (),
    signals: Mapping[str, Signal] = NO_SIGNALS,
    release: bool = False,
) -> Transition:
    """Let the run wait until it is resumed. A worker keeps its lease until it releases or loses it.

    `signals` are the oldest kept signals by name: if one of the `events` awaits one of them, the run takes it and does
    not wait.

    `earlier` is the receipt of an answer that an earlier attempt got for the same tool call: then the run
    does not wait, because the answer is not sent twice. `approvals` are the call ids of other approvals that can be
    answered meanwhile. A signal of any of the `events` resumes the run. With `release` the attempt ends here and does
    not count as lost. Raises RUN_NOT_ACTIVE, RUN_ALREADY_WAITING, ATTEMPT_SUPERSEDED, EVENT_LOG_FULL.
    """
    fence.check(run)
    if run.terminal:
        raise not_active(run)
    if earlier is not None:
        return Transition(run, duplicate=True)
    leaves = release and run.lease_token is not None
    if run.status is WAITING:
        if (run.waiting_reason, run.waiting_tool_call_id) != (reason, tool_call_id):
            raise already_waiting(run)
        return parked(run, now) if leaves else Transition(run, duplicate=True)
    if run.held:
        raise already_waiting(run)
    found = _oldest_awaited(events, signals)
    if found is not None:
        return take_signal(run, found[1], found[0], now=now)
    new = rewrite(
        run,
        now,
        status=WAITING,
        available_at=None,
        waiting_reason=reason,
        waiting_tool_call_id=tool_call_id,
        waiting_tool_name=tool_name,
        waiting_run_id=awaited_run_id,
        open_approvals=_encode(tuple(approvals)) if approvals else None,
        waiting_events=encode_awaited(tuple(events)),
        resume_at=resume_at,
        wait_expires_at=expires_at,
        **(NO_LEASE if leaves else {}),
    )
    return Transition(new, ended=attempt_ended(run, now, "parked") if leaves else None)


def open_approvals(run: Run) -> tuple[str | None, ...]:
    """Return the call ids of the approvals that a waiting run has open. None: an approval without a call id."""
    if run.status is not WAITING or run.paused:
        return ()
    calls = () if run.open_approvals is None else _call_ids(run.open_approvals)
    awaited = run.waiting_tool_call_id
    if run.waiting_reason != "approval" or awaited in calls or (awaited is None and calls):
        return calls
    return (awaited, *calls)


def only_approval(run: Run) -> str | None:
    """Return the call id of the run's open approval, None if none is open or if it has no call id.

    TOOL_RESULT_CONFLICT if several are open.
    """
    calls = open_approvals(run)
    if len(calls) > 1:
        raise Error(
            "TOOL_RESULT_CONFLICT",
            f"Several approvals of the run are open: send the tool_call_id of one of {', '.join(map(str, calls))}",
        )
    return calls[0] if calls else None


def open_events(run: Run) -> tuple[AwaitedEvent, ...]:
    """Return the events that a waiting run awaits."""
    return awaited_in(run.waiting_events) if run.status is WAITING and not run.paused else ()


def _oldest_awaited(
    events: Sequence[AwaitedEvent], oldest: Mapping[str, Signal]
) -> tuple[AwaitedEvent, Signal] | None:
    """Return the oldest kept signal that one of these events awaits, and that event. None: there is none."""
    found = [(awaited, oldest[awaited.name]) for awaited in events if awaited.name in oldest]
    return min(found, key=lambda each: each[1].number, default=None)


def take_signal(
    run: Run, signal: Signal, awaited: AwaitedEvent, *, now: int, occurred_at: int | None = None
) -> Transition:
    """Give a signal to its run as the result of a wait. A run that waits is resumed. `occurred_at`: see `event.resumed`.

    EVENT_LOG_FULL if the log has no room for the event.
    """
    if log_full(run):
        raise Error("EVENT_LOG_FULL", f"A run holds at most {limits.events_per_run_max} events")
    call_id, number = awaited.tool_call_id, run.latest_event_id + 1
    key = receipt_key("event", call_id)
    return Transition(
        resumed(run, now) if run.status is WAITING else rewrite(run, now, latest_event_id=number),
        events=(
            event.resumed(
                "event", call_id, msgspec.Raw(signal.payload), signal_id=signal.id, occurred_at=occurred_at
            ),
        ),
        receipt=None if key is None else Receipt(key, signal.digest),
        signal=replace(signal, taken_at=max(now, run.updated_at), event_id=number),
    )


#: Type of a resume → the waiting reason that it answers.
RESUMES: Final[dict[str, StoredReason]] = {
    "tool_result": "tool",
    "approval": "approval",
    "event": "event",
    "input": "input",
    "timer": "event",
    "unpause": "pause",
}


def resume(
    run: Run,
    *,
    now: int,
    kind: str,
    tool_call_id: str | None,
    result: Any,
    is_error: bool,
    receipt: Receipt | None,
    earlier: Receipt | None,
) -> Transition:
    """Resume a waiting run with a result.

    `earlier` is the receipt of an earlier answer to the same tool call.
    """
    if run.terminal:
        raise not_active(run)
    if earlier is not None:
        if receipt is not None and earlier.digest == receipt.digest:
            return Transition(run, duplicate=True)
        raise Error("TOOL_RESULT_CONFLICT", f"Call {tool_call_id} was already answered with another result")
    if run.waiting_input_id is not None:
        raise Error(
            "TOOL_RESULT_CONFLICT",
            f"The run waits for an answer to its input request: send it to POST /conversations/"
            f"{run.conversation_id}/input-requests/{run.waiting_input_id}/responses",
        )
    if run.waiting_run_id is not None:
        raise Error(
            "TOOL_RESULT_CONFLICT",
            f"The run waits for the end of the run {run.waiting_run_id}: complete or cancel that run",
        )
    if run.status is not WAITING:
        raise Error("TOOL_RESULT_NOT_WAITING", f"The run does not wait: it is {run.status.value}")
    if not _is_open(run, kind, tool_call_id):
        _refuse_other(run, kind, tool_call_id)
    if log_full(run):
        raise Error("EVENT_LOG_FULL", f"A run holds at most {limits.events_per_run_max} events")
    if kind == "tool_result":
        result_event = event.tool_result(tool_call_id, result, is_error=is_error)
    else:
        result_event = event.resumed(kind, tool_call_id, result, is_error=is_error)
    return Transition(resumed(run, now), events=(result_event,), receipt=receipt)


def receipt_key(reason: StoredReason, tool_call_id: str | None) -> str | None:
    """Return the key of an answer's receipt, None for an answer that needs none.

    It contains the reason, since one tool call can be approved first and get its result later.
    """
    return None if tool_call_id is None or reason == "pause" else f"{reason}:{tool_call_id}"


def _is_open(run: Run, kind: str, tool_call_id: str | None) -> bool:
    """Whether it answers one of several open approvals or events."""
    if kind == "approval":
        return tool_call_id in open_approvals(run)
    return (
        kind == "event"
        and tool_call_id is not None
        and any(each.tool_call_id == tool_call_id for each in open_events(run))
    )


def _refuse_other(run: Run, kind: str, tool_call_id: str | None) -> None:
    """TOOL_RESULT_CONFLICT if the run waits for something else."""
    if RESUMES[kind] != run.waiting_reason:
        name = "" if run.waiting_tool_name is None else f" ({run.waiting_tool_name})"
        waits = "is paused" if run.paused else f"waits for reason {run.waiting_reason}{name}"
        raise Error("TOOL_RESULT_CONFLICT", f"The run {waits}; {kind} does not answer that")
    if run.waiting_tool_call_id is not None and run.waiting_tool_call_id != tool_call_id:
        raise Error("TOOL_RESULT_CONFLICT", f"The run waits for the call {run.waiting_tool_call_id}")


def already_waiting(run: Run) -> Error:
    if run.held:
        return Error(
            "RUN_ALREADY_WAITING",
            "The compensation waits for the end of the one before it: pause that one, or cancel this one",
        )
    why = "is paused" if run.paused else f"already waits (reason {run.waiting_reason})"
    return Error("RUN_ALREADY_WAITING", f"The run {why}: resume it first")


def resumed(run: Run, now: int) -> Run:
    """Return the row of a run that continues: at its worker, or back in the queue."""
    leased = run.lease_token is not None
    place = run.paused_available_at if run.paused_available_at is not None else now
    return rewrite(
        run,
        now,
        status=RUNNING,
        started_at=run.started_at if run.started_at is not None else now,
        available_at=place if run.queued and not leased else None,
        # A timeout limits the work and not the wait, so it starts again.
        attempt_started_at=now if leased else run.attempt_started_at,
        latest_event_id=run.latest_event_id + 1,
        **NO_WAIT,
    )
