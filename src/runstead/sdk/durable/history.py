"""What a run's log tells of the steps that its earlier attempts took."""

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
#: Where a message, a thought or a tool call begins and ends → the member that names it.
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
#: The types that hold a run's history; all others are left unread.
TYPES: Final = (STEP_STARTED, STEP_FINISHED, CUSTOM, *STARTS, *ENDS, RESULT)

ASKED: Final = "run.asked"
RESUMED: Final = "run.resumed"
RETRIED: Final = "run.retried"
STEP_RETRIED: Final = "run.step_retried"
VALUE: Final = "run.value"
USAGE: Final = "run.usage"
LOG: Final = "run.log"
GATHER_FAILED: Final = "run.gather_failed"
GATHER: Final = "gather"

#: A place, or below a gather a branch and a place in it, and so on.
_STEP_ID: Final = re.compile(r"\d+(\.\d+\.\d+)*")


class StepFailure(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why a step failed for good. `final`: the run is not tried again. `detail` is any JSON."""

    message: str
    code: str | None = None
    final: bool = False
    detail: Any = None


class FinishedStep(msgspec.Struct, frozen=True):
    """A step that has come to its end: with a result, any JSON, or with a failure."""

    result: Any = None
    error: StepFailure | None = None


class WaitResult(msgspec.Struct, frozen=True):
    """What a wait got. `type` is that of the resume: approval, event, timer …"""

    type: str
    result: Any = None
    is_error: bool = False


class StartedMessage(msgspec.Struct, frozen=True):
    """A message, a thought or a tool call that was begun: as which event of which type."""

    event_id: int
    type: str


class History:
    """Steps by their id, answers by the call that asked for them, values by the id of the step that took them."""

    def __init__(self, events: Iterable[Event] = ()) -> None:
        self.names: dict[str, str] = {}
        self.begun: set[str] = set()  # and not finished
        self.finished: dict[str, FinishedStep] = {}
        self.tries: dict[str, int] = {}  # of the steps that were begun: tries that failed
        self.answers: dict[str, WaitResult] = {}
        self.values: dict[str, Any] = {}
        self.untils: dict[str, datetime] = {}  # when a wait that was begun goes on by itself
        self.gathers: set[str] = set()
        self.failures: dict[str, int] = {}  # of gathers: the number of the branch that failed
        #: Steps that a retry forgot, and by which: what they asked of others is asked under another name now.
        self.forgotten: dict[str, int] = {}
        self.retries = 0
        self.told: dict[str, StartedMessage] = {}  # messages, thoughts and tool calls, by their id
        self.ended: set[str] = set()
        self.followers: dict[str, str] = {}  # what was broken off → what took its place
        self.results: set[str] = set()
        self.usages: dict[str, dict[str, Any]] = {}
        self.lines = ""  # of the log, as earlier attempts left it
        self._timer_at: datetime | None = None
        for event in events:
            self._take(event)

    def know(self, step_id: str, name: str) -> None:
        self.names[step_id] = name
        self.gathers.update(_gathers(step_id))

    def over(self, until: datetime | None) -> bool:
        """Whether the server has ended a wait at this time or later. The worker's clock has no say: it may be wrong."""
        return until is not None and self._timer_at is not None and until <= self._timer_at

    def mark_answered(self, call_ids: Iterable[str]) -> None:
        """Waits that somebody has ended by hand, without an answer."""
        for call_id in call_ids:
            self.answers.setdefault(call_id, WaitResult("timer"))

    def after(self, count: int) -> str | None:
        """The first step of the trunk beyond so many."""
        beyond = [int(step_id) for step_id in self.names if step_id.isdecimal() and int(step_id) > count]
        return str(min(beyond)) if beyond else None

    def _take(self, event: Event) -> None:
        payload = event.payload
        if event.event_type in STARTS or event.event_type in ENDS or event.event_type == RESULT:
            self._take_told(event.event_id, event.event_type, payload)
            return
        if event.event_type == CUSTOM:
            value = payload.get("value")
            if isinstance(value, dict):
                self._take_custom(payload.get("name"), value, event.created_at)
            return
        step_id, name = payload.get("stepId"), payload.get("stepName")
        if not _is_step(step_id) or not isinstance(name, str):
            return  # told by the handler itself, for those who watch
        self.know(step_id, name)
        if event.event_type == STEP_STARTED:
            self.begun.add(step_id)
            if payload.get("until") is not None:
                self.untils[step_id] = datetime.fromisoformat(payload["until"])
            return
        error = payload.get("error")
        failure = None if error is None else msgspec.convert(error, StepFailure)
        self.begun.discard(step_id)
        self.tries.pop(step_id, None)
        self.finished[step_id] = FinishedStep(payload.get("result"), failure)

    def _take_told(self, event_id: int, kind: str, payload: dict[str, Any]) -> None:
        if kind == RESULT:
            self.results.add(str(payload.get("toolCallId")))
            return
        told = str(payload.get(STARTS.get(kind) or ENDS[kind]))
        if kind in STARTS:
            self.told[told] = StartedMessage(event_id, kind)
            return
        self.ended.add(told)
        if isinstance(payload.get("supersededBy"), str):
            self.followers[told] = payload["supersededBy"]

    def _take_custom(self, name: Any, value: dict[str, Any], at: datetime | None) -> None:
        step_id = value.get("step_id")
        if name == RESUMED:
            self._take_answer(value, at)
        elif name == RETRIED:
            self.retries += 1
            # The step that brought the last try down is taken anew, with what came of its failure; one whose failure
            # was handled is not.
            if _is_step(step_id):
                self._forget(step_id)
        elif name == USAGE and isinstance(value.get("id"), str):
            self.usages[value["id"]] = value
        elif name == LOG and isinstance(value.get("lines"), str):
            self.lines += value["lines"]
        elif not _is_step(step_id):
            return
        elif name == STEP_RETRIED:
            self.tries[step_id] = self.tries.get(step_id, 0) + 1
        elif name == GATHER_FAILED and isinstance(value.get("branch"), int):
            self.gathers.add(step_id)
            self.failures[step_id] = value["branch"]
        elif name == VALUE:
            self.know(step_id, str(value.get("name", "now")))
            self.values[step_id] = value.get("value")

    def _take_answer(self, value: dict[str, Any], at: datetime | None) -> None:
        call_id = value.get("tool_call_id")
        if value.get("type") == "timer" and at is not None:
            # It ends every wait whose time has come by then, whichever of them the run was waiting for.
            self._timer_at = max(at, self._timer_at or at)
        elif isinstance(call_id, str):
            self.answers[call_id] = WaitResult(
                str(value.get("type")), value.get("result"), bool(value.get("is_error"))
            )

    def _forget(self, failed: str) -> None:
        place = _place(failed)
        for step_id in [one for one in self.names if one == failed or _comes_after(place, _place(one))]:
            del self.names[step_id]
            self.begun.discard(step_id)
            for of_steps in (self.finished, self.tries, self.values, self.untils):
                of_steps.pop(step_id, None)
            if step_id != failed:
                self.forgotten[step_id] = self.retries
        self.failures = {
            gather: branch
            for gather, branch in self.failures.items()
            if not failed.startswith(f"{gather}.") and not _comes_after(place, _place(gather))
        }
        self.gathers = self.failures.keys() | {
            gather for step_id in self.names for gather in _gathers(step_id)
        }


def _is_step(step_id: Any) -> TypeGuard[str]:
    return isinstance(step_id, str) and _STEP_ID.fullmatch(step_id) is not None


def _place(step_id: str) -> list[int]:
    return [int(number) for number in step_id.split(".")]


def _gathers(step_id: str) -> list[str]:
    """Of 3.1.2.4.1: 3 and 3.1.2."""
    numbers = step_id.split(".")
    return [".".join(numbers[:length]) for length in range(1, len(numbers), 2)]


def _comes_after(place: list[int], other: list[int]) -> bool:
    """Whether the code comes to `other` after `place`, and not beside it, in another branch of a gather."""
    for depth, (mine, its) in enumerate(zip(place, other, strict=False)):
        if mine != its:
            return depth % 2 == 0 and its > mine
    return False
