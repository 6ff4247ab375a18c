"""Input requests of a run: opened and closed in the transaction of the run's wait."""

import hashlib
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from runstead.core import limits
from runstead.core.conversations.input_request import InputRequest, InputResponse, InputStatus
from runstead.core.errors import Error, invalid_at
from runstead.core.runs import event
from runstead.core.runs.run import Run
from runstead.core.runs.transition import Receipt, Transition
from runstead.core.runs.transitions.machine import WAITING, Fence, closed_input, log_full, not_active
from runstead.core.runs.transitions.wait import resumed, wait

CANCELLED: Final = "The input request was cancelled"
"""The result that a run gets for a cancelled input request."""


def ask_input(
    run: Run,
    *,
    now: int,
    request: InputRequest,
    known: InputRequest | None,
    earlier: Receipt | None,
    fence: Fence,
) -> Transition:
    """Open an input request and let the run wait for it.

    `known` is the earlier request of the run for the same tool call. If the new request repeats it, nothing
    changes, even if it is closed. `earlier` is the receipt of an answer to the same tool call that was given
    without an input request.
    """
    fence.check(run)
    if known is not None and known.asks_the_same(request):
        return Transition(run, duplicate=True, input_request=known)
    if run.terminal:
        raise not_active(run)
    if run.status is WAITING:
        raise Error("RUN_ALREADY_WAITING", f"The run already waits (reason {run.waiting_reason})")
    if known is not None or earlier is not None:
        raise Error(
            "TOOL_RESULT_CONFLICT",
            "This tool call was answered before: use a new tool_call_id for a new request",
        )
    if request.expires_at is not None and request.expires_at <= now:
        raise invalid_at("$.expires_at", "has passed", "expires_at has passed")
    held = wait(
        run,
        now=now,
        reason="input",
        tool_call_id=request.tool_call_id,
        tool_name=None,
        resume_at=None,
        expires_at=request.expires_at,
        fence=fence,
    )
    new = replace(request, created_at=now)
    return replace(held, run=replace(held.run, waiting_input_id=new.id), input_request=new)


def respond(run: Run, *, now: int, request: InputRequest, response: InputResponse) -> Transition:
    """Submit an open request: the run resumes with the values, without those of secret fields.

    The same values again are a duplicate and change nothing.
    """
    earlier = request.response
    if request.status == "submitted" and earlier is not None and earlier.digest == response.digest:
        return Transition(run, duplicate=True, input_request=request)
    result = {
        "submitted": True,
        "inputRequestId": request.id,
        "values": msgspec.Raw(response.values),
        "withheld": msgspec.Raw(response.withheld),
    }
    return _close(run, now, request, "submitted", result, replace(response, created_at=now))


def read_secrets(run: Run, *, request: InputRequest, fence: Fence) -> Transition:
    """Check that the caller holds the lease, and that the secrets of the response are stored. Nothing changes.

    `fence.token` proves it. Raises FORBIDDEN, RUN_NOT_ACTIVE, ATTEMPT_SUPERSEDED, SECRETS_NOT_KEPT.
    """
    if fence.token is None:
        raise Error(
            "FORBIDDEN", "Only the holder of the run's lease reads secrets: send its token as X-Lease-Token"
        )
    if run.terminal:
        raise not_active(run)
    fence.check(run)
    response = request.response
    if response is None:
        raise Error("SECRETS_NOT_KEPT", f"The input request has no response: it is {request.status}")
    if response.secrets is None and response.withheld != b"[]":
        raise Error(
            "SECRETS_NOT_KEPT",
            "The secrets of the response were not stored: the server had no encryption key when it was sent",
        )
    return Transition(run, input_request=request)


def cancel_input(run: Run, *, now: int, request: InputRequest) -> Transition:
    """Cancel an open request: the run resumes with an error as its result.

    A second cancel changes nothing.
    """
    if request.status == "cancelled":
        return Transition(run, duplicate=True, input_request=request)
    return _close(run, now, request, "cancelled", CANCELLED)


def _close(
    run: Run,
    now: int,
    request: InputRequest,
    status: InputStatus,
    result: Any,
    response: InputResponse | None = None,
) -> Transition:
    if request.status != "open":
        raise Error("INPUT_REQUEST_NOT_OPEN", f"The input request is {request.status}")
    assert run.waiting_input_id == request.id
    if log_full(run):
        raise Error("EVENT_LOG_FULL", f"A run holds at most {limits.events_per_run_max} events")
    closed = closed_input(run, now, status, response)
    assert closed is not None
    result_event = event.tool_result(request.tool_call_id, result, is_error=response is None)
    # With the receipt, a wait for the same tool call in a later attempt finds the answer.
    receipt = Receipt(f"input:{request.tool_call_id}", hashlib.sha256(result_event.payload).digest())
    return Transition(
        resumed(run, now),
        events=(result_event,),
        receipt=receipt,
        input_request=closed.applied(request),
        closed_input=closed,
    )
