"""What a run's log tells of the steps that its earlier attempts took."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

import msgspec

from runstead.sdk.event import Event

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

RESUMED: Final = "run.resumed"
RETRIED: Final = "run.retried"
VALUE: Final = "run.value"
USAGE: Final = "run.usage"
LOG: Final = "run.log"


class Failure(msgspec.Struct, frozen=True):
    """Why a step failed for good."""

    message: str
    code: str | None = None


class Finished(msgspec.Struct, frozen=True):
    """A step that has come to its end: with a result, any JSON, or with a failure."""

    result: Any = None
    error: Failure | None = None


class Answer(msgspec.Struct, frozen=True):
    """What a wait got. `type` is that of the resume: approval, event, timer …"""

    type: str
    result: Any = None
    is_error: bool = False


class Begun(msgspec.Struct, frozen=True):
    """A message, a thought or a tool call that was begun: as which event of which type."""

    event_id: int
    type: str


class History:
    """Steps by their id, answers by the call that asked for them, values by the id of the step that took them."""

    def __init__(self, events: Iterable[Event] = ()) -> None:
        self.names: dict[str, str] = {}
        self.finished: dict[str, Finished] = {}
        self.answers: dict[str, Answer] = {}
        self.values: dict[str, Any] = {}
        self.untils: dict[str, datetime] = {}  # when a wait that was begun goes on by itself
        self.retries = 0
        self.begun: dict[str, Begun] = {}  # what was told, by its id
        self.ended: set[str] = set()
        self.followers: dict[str, str] = {}  # what was broken off → what took its place
        self.results: set[str] = set()
        self.usages: dict[str, dict[str, Any]] = {}
        self.lines = ""  # of the log, as earlier attempts left it
        for event in events:
            if event.event_type in STARTS or event.event_type in ENDS or event.event_type == RESULT:
                self._take_told(event.event_id, event.event_type, event.payload)
            else:
                self._take(event.event_type, event.payload)

    def _take_told(self, event_id: int, kind: str, payload: dict[str, Any]) -> None:
        if kind == RESULT:
            self.results.add(str(payload.get("toolCallId")))
            return
        told = str(payload.get(STARTS.get(kind) or ENDS[kind]))
        if kind in STARTS:
            self.begun[told] = Begun(event_id, kind)
            return
        self.ended.add(told)
        if isinstance(payload.get("supersededBy"), str):
            self.followers[told] = payload["supersededBy"]

    def _take(self, kind: str, payload: dict[str, Any]) -> None:
        if kind == CUSTOM:
            value = payload.get("value")
            if isinstance(value, dict):
                self._take_custom(payload.get("name"), value)
            return
        step_id, name = payload.get("stepId"), payload.get("stepName")
        if not isinstance(step_id, str) or not isinstance(name, str):
            return  # told by the handler itself, for those who watch
        self.names[step_id] = name
        if payload.get("until") is not None:
            self.untils[step_id] = datetime.fromisoformat(payload["until"])
        if kind == STEP_FINISHED:
            error = payload.get("error")
            failure = None if error is None else msgspec.convert(error, Failure)
            self.finished[step_id] = Finished(payload.get("result"), failure)

    def _take_custom(self, name: Any, value: dict[str, Any]) -> None:
        if name == RESUMED and isinstance(value.get("tool_call_id"), str):
            answer = Answer(str(value.get("type")), value.get("result"), bool(value.get("is_error")))
            self.answers[value["tool_call_id"]] = answer
        elif name == RETRIED:
            self.retries += 1
            # The step that brought the last try down is taken anew; one whose failure was handled is not.
            self.finished.pop(str(value.get("step_id")), None)
        elif name == VALUE and isinstance(value.get("step_id"), str):
            self.values[value["step_id"]] = value.get("value")
        elif name == USAGE and isinstance(value.get("id"), str):
            self.usages[value["id"]] = value
        elif name == LOG and isinstance(value.get("lines"), str):
            self.lines += value["lines"]
