"""What a run's log tells of the steps that its earlier attempts took."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

import msgspec

from runstead.sdk.event import Event

STEP_STARTED: Final = "STEP_STARTED"
STEP_FINISHED: Final = "STEP_FINISHED"
CUSTOM: Final = "CUSTOM"
#: The types that hold a run's history; all others are left unread.
TYPES: Final = (STEP_STARTED, STEP_FINISHED, CUSTOM)

RESUMED: Final = "run.resumed"
RETRIED: Final = "run.retried"
VALUE: Final = "run.value"


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


class History:
    """Steps by their id, answers by the call that asked for them, values by the id of the step that took them."""

    def __init__(self, events: Iterable[Event] = ()) -> None:
        self.names: dict[str, str] = {}
        self.finished: dict[str, Finished] = {}
        self.answers: dict[str, Answer] = {}
        self.values: dict[str, Any] = {}
        self.untils: dict[str, datetime] = {}  # when a wait that was begun goes on by itself
        self.retries = 0
        for event in events:
            self._take(event.event_type, event.payload)

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
