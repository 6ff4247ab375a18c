"""The history of a run: what its event log says about the steps, waits and messages of earlier tries."""

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final, TypeGuard

import msgspec

from runstead.sdk.models.event import Event

STEP_STARTED: Final = "STEP_STARTED"
STEP_FINISHED: Final = "STEP_FINISHED"
CUSTOM: Final = "CUSTOM"
RESULT: Final = "TOOL_CALL_RESULT"
#: Events that start and end a text, reasoning or tool call → the member that identifies it.
STARTS: Final = {
    "TEXT_MESSAGE_START": "messageId",
    "REASONING_MESSAGE_START": "messageId",
    "TOOL_CALL_START": "toolCallId",
}
ENDS: Final = {
    "TEXT_MESSAGE_END": "messageId",
    "REASONING_MESSAGE_END": "messageId",
    "TOOL_CALL_END": "toolCallId",
}
#: The event types that hold a run's history. No other type is read.
TYPES: Final = (STEP_STARTED, STEP_FINISHED, CUSTOM, *STARTS, *ENDS, RESULT)

# Names of CUSTOM events
RESERVED_PREFIX: Final = "run."
ASKED: Final = "run.asked"
RESUMED: Final = "run.resumed"
RETRIED: Final = "run.retried"
FAILED_STEP: Final = "run.failed_step"
RETRY_FROM: Final = "run.retry_from"
STEP_RETRIED: Final = "run.step_retried"
NOW: Final = "run.now"
PROGRESS: Final = "run.progress"
VALUE: Final = "run.value"
USAGE: Final = "run.usage"
LOG: Final = "run.log"
GATHER_FAILED: Final = "run.gather_failed"
BLOCKED: Final = "run.blocked"
PATCHED: Final = "run.patched"
#: The start of the call id with which a blocked run waits for other code.
BLOCKED_CALL: Final = "blocked:"
#: The start of the call id of a form.
FORM_CALL: Final = "form:"
#: The step name of a gather.
GATHER: Final = "gather"

#: The events that only the server writes.
_OF_SERVER: Final = (RESUMED, RETRY_FROM)

#: A number, or the number of a gather, of a branch in it and of a step in the branch, and so on.
_STEP_ID: Final = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9}\.[0-9]{1,9})*")


class StepFailure(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why a step failed after its last try. `final`: the run is not retried. `detail` is any JSON.

    `type` is the name of the exception's type. `args` are its arguments; None where they are not JSON.
    """

    message: str
    code: str | None = None
    final: bool = False
    detail: Any = None
    type: str | None = None
    args: list[Any] | None = None
    traceback: str | None = None


class FinishedStep(msgspec.Struct, frozen=True):
    """The outcome of a step: a result (any JSON) or a failure."""

    result: Any = None
    error: StepFailure | None = None


class WaitResult(msgspec.Struct, frozen=True):
    """The result of a wait. `type` is the type of the resume: approval, event, timer …"""

    type: str
    result: Any = None
    is_error: bool = False


class StartedMessage(msgspec.Struct, frozen=True):
    """A text, reasoning or tool call that was started: the id and the type of its start event."""

    event_id: int
    type: str


class History:
    """Steps by id, results of waits by call id, recorded values by step id, messages by message id."""

    def __init__(self, events: Iterable[Event] = ()) -> None:
        self.step_names: dict[str, str] = {}
        self.started: dict[str, str] = {}  # and not finished → the name
        self.finished: dict[str, FinishedStep] = {}
        self.failed_tries: dict[str, int] = {}  # of steps that are started
        self.wait_results: dict[str, WaitResult] = {}
        self.values: dict[str, Any] = {}
        self.wait_ends: dict[str, datetime] = {}  # when a started wait ends without a result
        self.gathers: set[str] = set()
        self.failed_branches: dict[str, int] = {}  # gather → the number of the branch that failed
        #: Steps that a retry of the run reset, and the number of that retry. Their waits get new call ids.
        self.reset_steps: dict[str, int] = {}
        self.retries = 0
        self.blocks: dict[str, dict[str, Any]] = {}  # step id → the last difference to the code
        self.patches: dict[
            tuple[str, str], bool
        ] = {}  # (patch, prefix of the branch) → the answer of `ctx.patched`
        self.blocked_tries = 0
        self.blocked_tries_before = 0  # with another difference
        self.messages: dict[str, StartedMessage] = {}
        self.ended_messages: set[str] = set()
        self.replacements: dict[str, str] = {}  # an interrupted message → the message that replaced it
        self.tool_results: set[str] = set()
        self.form_responses: dict[str, WaitResult] = {}  # call id → the response, or why there is none
        self.usages: dict[str, dict[str, Any]] = {}
        self.value_names: set[str] = set()  # of the run's values, set by `ctx.set`
        self._reached: dict[str, int] = {}  # prefix of a branch → its last step that was reached
        #: The run and the step of each retry from a step, oldest first: steps before it ended in that run.
        self.origins: list[tuple[str, str]] = []
        self.logs = ""  # of earlier attempts
        self.traceparent: str | None = None  # of the step or wait that was started last
        self._timer_at: datetime | None = None
        for event in events:
            self._add(event)

    def add_step(self, step_id: str, name: str) -> None:
        self.step_names[step_id] = name
        self.gathers.update(_gathers(step_id))
        self._note_reached(step_id)

    def _note_reached(self, step_id: str) -> None:
        for reached in (*_gathers(step_id), step_id):
            prefix, number = _split(reached)
            self._reached[prefix] = max(number, self._reached.get(prefix, 0))

    def has_passed(self, prefix: str, count: int) -> bool:
        """Whether an earlier try reached a step after the step `count` of the branch with this prefix."""
        while self._reached.get(prefix, 0) <= count:
            if not prefix:
                return False
            prefix, count = _split(prefix[:-1].rpartition(".")[0])  # "3.2." is a branch of the gather 3
        return True

    def patch_answer(self, patch: str, prefix: str) -> bool | None:
        """Return the answer that a patch has in this branch, in those around it or in those of its gathers.

        None: it has none. False takes precedence: after a branch that began with the old code, the run stays with it.
        """
        answers = [
            answer
            for (name, other), answer in self.patches.items()
            if name == patch and (prefix.startswith(other) or other.startswith(prefix))
        ]
        return all(answers) if answers else None

    def has_timed_out(self, end: datetime | None) -> bool:
        """Whether the server has ended a wait at this time or later. The worker's clock may be wrong, so it is not read."""
        return end is not None and self._timer_at is not None and end <= self._timer_at

    def mark_timed_out(self, call_ids: Iterable[str]) -> None:
        """End waits that a client resumed without a result."""
        for call_id in call_ids:
            self.wait_results.setdefault(call_id, WaitResult("timer"))

    def run_of(self, step_id: str, run_id: str) -> str:
        """Return the run in which a step of the run `run_id` was reached first: an earlier one, if this is its retry."""
        for origin, first in reversed(self.origins):
            if step_id == first or _comes_after(_position(first), _position(step_id)):
                break
            run_id = origin
        return run_id

    def first_step_after(self, count: int) -> str | None:
        """Return the first step of the root branch whose number is above `count`."""
        later = [int(step_id) for step_id in self.step_names if step_id.isdecimal() and int(step_id) > count]
        return str(min(later)) if later else None

    def _add(self, event: Event) -> None:
        payload = event.payload
        if event.event_type in STARTS or event.event_type in ENDS or event.event_type == RESULT:
            self._add_message_event(event.event_id, event.event_type, payload)
            if event.event_type == RESULT and event.from_server:
                self._add_form_response(payload)
            return
        if event.event_type == CUSTOM:
            value, name = payload.get("value"), payload.get("name")
            # An answer decides what the handler does next, for example an approval. Only the server writes it.
            if isinstance(value, dict) and (name not in _OF_SERVER or event.from_server):
                self._add_custom(name, value, event.created_at)
            return
        step_id, name = payload.get("stepId"), payload.get("stepName")
        if not _is_step(step_id) or not isinstance(name, str):
            return  # emitted by the handler itself, for followers of the run
        self.add_step(step_id, name)
        if event.event_type == STEP_STARTED:
            self.started[step_id] = name
            self.traceparent = payload.get("traceparent", self.traceparent)
            if payload.get("until") is not None:
                self.wait_ends[step_id] = datetime.fromisoformat(payload["until"])
            return
        error = payload.get("error")
        failure = None if error is None else msgspec.convert(error, StepFailure)
        self.started.pop(step_id, None)
        self.failed_tries.pop(step_id, None)
        if not payload.get("closed"):  # of a wait that was not the first: it has no result
            self.finished[step_id] = FinishedStep(payload.get("result"), failure)

    def _add_message_event(self, event_id: int, event_type: str, payload: dict[str, Any]) -> None:
        if event_type == RESULT:
            self.tool_results.add(str(payload.get("toolCallId")))
            return
        message_id = str(payload.get(STARTS.get(event_type) or ENDS[event_type]))
        if event_type in STARTS:
            self.messages[message_id] = StartedMessage(event_id, event_type)
            return
        self.ended_messages.add(message_id)
        if isinstance(payload.get("supersededBy"), str):
            self.replacements[message_id] = payload["supersededBy"]

    def _add_form_response(self, payload: dict[str, Any]) -> None:
        call_id, content = str(payload.get("toolCallId")), payload.get("result", payload.get("content"))
        if call_id.startswith(FORM_CALL):
            self.form_responses[call_id] = WaitResult("input", content, bool(payload.get("isError")))

    def _add_custom(self, name: Any, value: dict[str, Any], at: datetime | None) -> None:
        step_id = value.get("step_id")
        if name == RESUMED:
            self._add_wait_result(value, at)
        elif name == RETRIED:
            self.retries += 1
            # The step that failed the last try runs again, and so do the steps after it. A step whose failure the
            # handler caught keeps its failure.
            if _is_step(step_id):
                self._reset(step_id)
            elif _is_step(block := value.get("block_step_id")):
                # No step failed. The steps of `except` and `finally` blocks run again where the try ends again.
                self._reset(block, is_failed=False)
        elif name == RETRY_FROM and _is_step(step_id):
            self.origins.append((str(value.get("run_id")), step_id))
        elif name == USAGE and isinstance(value.get("id"), str):
            self.usages[value["id"]] = value
        elif name == PATCHED:
            self.patches[str(value.get("id")), str(value.get("branch"))] = True
        elif name == VALUE:
            self.value_names.add(str(value.get("name")))
        elif name == LOG and isinstance(value.get("lines"), str):
            self.logs += value["lines"]
        elif not _is_step(step_id):
            return
        elif name == STEP_RETRIED:
            self.failed_tries[step_id] = self.failed_tries.get(step_id, 0) + 1
        elif name == GATHER_FAILED and isinstance(value.get("branch"), int):
            self.gathers.add(step_id)
            self.failed_branches[step_id] = value["branch"]
        elif name == BLOCKED:
            self.blocks[step_id] = value
            self.blocked_tries_before = self.blocked_tries
        elif name == NOW:
            self.add_step(step_id, "now")
            self.values[step_id] = value.get("value")

    def _add_wait_result(self, value: dict[str, Any], at: datetime | None) -> None:
        call_id = value.get("tool_call_id")
        if isinstance(call_id, str) and call_id.startswith(BLOCKED_CALL):
            self.blocked_tries += 1
        if value.get("type") == "run" and _is_step(step_id := str(call_id).rpartition(":")[2]):
            self._note_reached(step_id)  # the wait for a child has no events of its own
        if value.get("type") == "timer" and at is not None:
            # A timer ends every wait whose end is at or before this time, not only the one that the run waited for.
            self._timer_at = max(at, self._timer_at or at)
        elif isinstance(call_id, str):
            self.wait_results[call_id] = WaitResult(
                str(value.get("type")), value.get("result"), bool(value.get("is_error"))
            )

    def _reset(self, failed: str, *, is_failed: bool = True) -> None:
        """Remove the failed step and the steps after it, so that they run again. `is_failed` false: it did not fail."""
        position = _position(failed)
        for step_id in [
            one for one in self.step_names if one == failed or _comes_after(position, _position(one))
        ]:
            del self.step_names[step_id]
            self.started.pop(step_id, None)
            for by_step in (self.finished, self.failed_tries, self.values, self.wait_ends):
                by_step.pop(step_id, None)
            if step_id != failed or not is_failed:
                self.reset_steps[step_id] = self.retries
        self.failed_branches = {
            gather: branch
            for gather, branch in self.failed_branches.items()
            if not failed.startswith(f"{gather}.") and not _comes_after(position, _position(gather))
        }
        self.gathers = self.failed_branches.keys() | {
            gather for step_id in self.step_names for gather in _gathers(step_id)
        }
        self._reached = {}
        for step_id in self.step_names:
            self._note_reached(step_id)


def _is_step(step_id: Any) -> TypeGuard[str]:
    return isinstance(step_id, str) and _STEP_ID.fullmatch(step_id) is not None


def _split(step_id: str) -> tuple[str, int]:
    """Return the prefix of a step's branch, and the step's number in it."""
    head, _, number = step_id.rpartition(".")
    return f"{head}." if head else "", int(number)


def _position(step_id: str) -> list[int]:
    return [int(number) for number in step_id.split(".")]


def _gathers(step_id: str) -> list[str]:
    """Return the gathers around a step: for 3.1.2.4.1 they are 3 and 3.1.2."""
    numbers = step_id.split(".")
    return [".".join(numbers[:length]) for length in range(1, len(numbers), 2)]


def _comes_after(first: list[int], second: list[int]) -> bool:
    """Whether the handler reaches `second` after `first`. Steps in other branches of the same gather do not count."""
    for depth, (a, b) in enumerate(zip(first, second, strict=False)):
        if a != b:
            return depth % 2 == 0 and b > a
    return False
