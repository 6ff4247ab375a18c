"""A retry that goes on from a step: which events of a run's log its retry begins with.

The log of a durable handler holds the results of its steps, waits and child runs. The SDK numbers the steps: 1, 2, and
3.2.1 for the first step of the second branch of step 3. The retry keeps what the steps before the chosen one ended
with. The chosen step, and all that come after it, run again.
"""

import re
from collections.abc import Iterable
from typing import Any, Final, NamedTuple, TypeGuard

import msgspec
from msgspec.structs import replace

from runstead.core import limits
from runstead.core.errors import Error
from runstead.core.runs import artifact
from runstead.core.runs.artifact import Stored
from runstead.core.runs.event import (
    CUSTOM,
    RESUMED,
    RETRY_FROM,
    STEP_TYPES,
    TOOL_CALL_RESULT,
    Event,
    NewEvent,
    members_of,
)
from runstead.core.runs.run import Run, RunStatus
from runstead.core.runs.transition import Transition
from runstead.core.runs.values import VALUE, NamedValue, RunValue, setting_of

FAILED: Final = "failed"
"""In place of a step's id: the step that failed the run, or else the first one that has no result."""

#: The event types that are read.
TYPES: Final = (*sorted(STEP_TYPES), CUSTOM, TOOL_CALL_RESULT)

# Names of CUSTOM events of the SDK
_ASKED: Final = "run.asked"
_NOW: Final = "run.now"
_PATCHED: Final = "run.patched"
_RETRIED: Final = "run.retried"
_GATHER_FAILED: Final = "run.gather_failed"
_FAILED_STEP: Final = "run.failed_step"
#: The start of the call id of a form.
_FORM: Final = "form:"

_STEP_ID: Final = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9}\.[0-9]{1,9})*")
#: A call id ends with the id of its step. A step that a retry of the handler reset has the number of that retry too.
_CALL: Final = re.compile(rf"(?P<call>.+:(?P<step>{_STEP_ID.pattern}))(?:~[0-9]+)?", re.DOTALL)
#: The sources of answers to waits.
_OF_SERVER: Final = ("server", "retry")
#: The call ids of waits that belong to no step begin with these.
_NO_STEP: Final = ("retry:", "blocked:")

encode = msgspec.json.Encoder().encode


class RetryFrom(msgspec.Struct, frozen=True):
    """Where a run goes on: before the step `step_id` of the run `run_id`, whose log it shares up to `event_id`."""

    run_id: str
    step_id: str
    event_id: int


class _Kept(NamedTuple):
    event_id: int
    type: str
    payload: bytes
    is_error: bool

    @classmethod
    def of(cls, event: Event) -> "_Kept":
        return cls(event.event_id, event.type, event.payload, event.is_error)


class _Step:
    """What the log has of a step. `ended`: it has a result, or its wait has one."""

    def __init__(self, first_event_id: int) -> None:
        self.first_event_id = first_event_id
        self.events: list[_Kept] = []
        self.ended = False
        self.has_secrets = False  # a form: they are erased with the run, so it is asked again
        self.failed_at: int | None = None  # the event of its failure
        self.child: str | None = None  # the run that it created


class Log(msgspec.Struct, frozen=True):
    """The log that a retry begins with. `retry_from` None: the run has no steps, so nothing is kept."""

    retry_from: RetryFrom | None
    events: tuple[NewEvent, ...] = ()
    values: tuple[RunValue, ...] = ()
    artifacts: tuple[Stored, ...] = ()

    def begin(self, new: Transition, source: Run, now: int) -> Transition:
        """Let the new run of this transition begin with the log. `now` in ms."""
        if self.retry_from is None:
            return new
        listed = encode(self.artifacts) if self.artifacts else None
        run = replace(
            new.run,
            retry_from=encode(self.retry_from),
            latest_event_id=len(self.events),
            artifacts=listed,
            artifact_bytes=artifact.stored_bytes(listed) if self.artifacts else None,
        )
        owners = dict.fromkeys(one.content_owner or source.uid for one in self.artifacts)
        values = tuple(replace(value, updated_at=now) for value in self.values)
        return replace(new, run=run, events=self.events, values=values, held_contents=tuple(owners))


class Copy:
    """Collects the events of an ended run that its retry from a step begins with."""

    def __init__(self, source: Run, from_step: str) -> None:
        """`from_step` is the id of a step, or `FAILED`. STEP_NOT_FOUND for FAILED of a completed run."""
        if from_step != FAILED and not _is_step(from_step):
            raise _step_not_found(from_step)
        if from_step == FAILED and source.status is RunStatus.COMPLETED:
            raise Error("STEP_NOT_FOUND", "No step failed: the run completed")
        self._source = source
        self._from = from_step
        self._steps: dict[str, _Step] = {}
        self._failed_gathers: dict[str, _Kept] = {}
        self._values: dict[str, tuple[_Kept, NamedValue]] = {}
        self._origins: list[_Kept] = []
        self._patches: list[tuple[str, _Kept]] = []  # with the prefix of the branch
        self._timer: _Kept | None = None
        self._failed: dict[str, Any] = {}
        self._count = self._bytes = self._last_end = 0

    def add(self, events: Iterable[Event]) -> None:
        """Read the next events of the log. RETRY_TOO_LARGE if more are kept than a retry can copy."""
        for event in events:
            payload = members_of(event) or {}
            if event.type == CUSTOM:
                value = payload.get("value")
                if isinstance(value, dict):
                    self._add_custom(event, payload.get("name"), value)
            elif event.type == TOOL_CALL_RESULT:
                self._add_form(event, payload)
            elif event.type in STEP_TYPES and _is_step(step_id := payload.get("stepId")):
                self._add_step(event, step_id, payload)
        if self._count > limits.retry_events_max or self._bytes > limits.retry_bytes_max:
            raise Error(
                "RETRY_TOO_LARGE",
                f"A retry copies at most {limits.retry_events_max:,} events and {limits.retry_bytes_max:,} bytes of"
                " results, and there are more before the step: retry from an earlier step, or from the beginning",
            )

    def _add_step(self, event: Event, step_id: str, payload: dict[str, Any]) -> None:
        step = self._step(step_id, event.event_id)
        self._keep(step_id, step, _Kept.of(event))
        if event.type != "STEP_STARTED":
            step.ended = True
            step.failed_at = None if payload.get("error") is None else event.event_id
            self._last_end = event.event_id
            result = payload.get("result")
            if str(payload.get("stepName")).startswith("spawn ") and isinstance(result, dict):
                step.child = result.get("run_id")

    def _add_custom(self, event: Event, name: Any, value: dict[str, Any]) -> None:
        kept, step_id = _Kept.of(event), value.get("step_id")
        if name in (RESUMED, _ASKED):
            if name == _ASKED or event.source in _OF_SERVER:
                self._add_wait(event, name, value)
        elif name == RETRY_FROM and event.source == "retry":
            self._origins.append(kept)
        elif name == VALUE:
            setting = setting_of(name, event.payload)
            if isinstance(setting, NamedValue):
                self._values[setting.name] = (kept, setting)
        elif name == _PATCHED:
            self._patches.append((str(value.get("branch")), kept))
        elif name == _FAILED_STEP:
            self._failed = value
        elif name == _RETRIED:
            self._reset(step_id if _is_step(step_id) else value.get("block_step_id"))
        elif not _is_step(step_id):
            return
        elif name == _GATHER_FAILED:
            self._failed_gathers[step_id] = kept
        elif name == _NOW:
            step = self._step(step_id, event.event_id)
            self._keep(step_id, step, kept)
            step.ended = True

    def _add_wait(self, event: Event, name: str, value: dict[str, Any]) -> None:
        if name == RESUMED and value.get("type") == "timer":
            # It ends every wait whose end is not later. The retry's copy is later than all of them.
            self._timer = _Kept.of(event)
            return
        found = _CALL.fullmatch(str(value.get("tool_call_id")))
        if found is None or found[0].startswith(_NO_STEP):
            return
        kept = _Kept.of(event)
        if found[0] != found["call"]:  # the retry's handler has not reset the step
            members = members_of(event) or {}
            kept = kept._replace(payload=encode(members | {"value": value | {"tool_call_id": found["call"]}}))
        step = self._step(found["step"], event.event_id)
        self._keep(found["step"], step, kept)
        step.ended = step.ended or name == RESUMED

    def _add_form(self, event: Event, payload: dict[str, Any]) -> None:
        found = _CALL.fullmatch(str(payload.get("toolCallId")))
        if found is None or not found[0].startswith(_FORM) or event.source not in _OF_SERVER:
            return
        kept, call_id = _Kept.of(event), found["call"]
        if found[0] != call_id:
            renamed = {"toolCallId": call_id, "messageId": f"{call_id}-result"}
            kept = kept._replace(payload=encode(payload | renamed))
        step, result = self._step(found["step"], event.event_id), payload.get("result")
        step.ended = True
        step.has_secrets = isinstance(result, dict) and bool(result.get("withheld"))
        self._keep(found["step"], step, kept)

    def _step(self, step_id: str, event_id: int) -> _Step:
        return self._steps.setdefault(step_id, _Step(event_id))

    def _keep(self, step_id: str, step: _Step, kept: _Kept) -> None:
        if self._from == FAILED or _is_before(step_id, self._from):
            step.events.append(kept)
            self._count += 1
            self._bytes += len(kept.payload)

    def _reset(self, first: Any) -> None:
        """Forget a step that a retry of the handler reset, and the steps after it."""
        if not _is_step(first):
            return
        for step_id in [one for one in self._steps if not _is_before(one, first)]:
            step = self._steps.pop(step_id)
            self._count -= len(step.events)
            self._bytes -= sum(len(kept.payload) for kept in step.events)
        self._failed_gathers = {
            gather: kept for gather, kept in self._failed_gathers.items() if _is_before(gather, first)
        }

    def finish(self, new_run_id: str) -> Log:
        """Return the log of the new run. STEP_NOT_FOUND if the run has no such step."""
        first = self._first()
        if first is None:
            return Log(None)
        known = [self._steps[one] for one in self._steps if one == first or one.startswith(f"{first}.")]
        if not known and self._from != FAILED:
            raise _step_not_found(first)
        boundary = min((step.first_event_id for step in known), default=self._source.latest_event_id + 1) - 1
        kept = [*self._origins]
        for step_id, step in self._steps.items():
            if step.ended and not step.has_secrets and _is_before(step_id, first):
                kept += step.events
        kept += [event for gather, event in self._failed_gathers.items() if _is_before(gather, first)]
        kept += [] if self._timer is None else [self._timer]
        kept += [
            event for branch, event in self._patches if self._is_kept_patch(branch, event, first, boundary)
        ]
        values = [one for one in self._values.values() if one[0].event_id <= boundary]
        kept += [event for event, _ in values]
        kept.sort()
        places = {event.event_id: place for place, event in enumerate(kept, 1)}
        source = RetryFrom(self._source.run_id, first, boundary)
        mark = encode({"type": CUSTOM, "name": RETRY_FROM, "value": source})
        return Log(
            source,
            (*map(_copied, kept), NewEvent(CUSTOM, mark, source="retry")),
            tuple(RunValue(one.name, bytes(one.value), places[event.event_id], 0) for event, one in values),
            tuple(self._shared_artifacts(kept, new_run_id)),
        )

    def _is_kept_patch(self, branch: str, event: _Kept, first: str, boundary: int) -> bool:
        """Whether the handler reached the patch before the step, or in another branch that keeps results."""
        if event.event_id <= boundary:
            return True
        return not first.startswith(branch) and any(
            step.ended and one.startswith(branch) and _is_before(one, first)
            for one, step in self._steps.items()
        )

    def _shared_artifacts(self, kept: list[_Kept], new_run_id: str) -> list[Stored]:
        """Return the artifacts of the source that the retry lists too: its kept steps may have stored any of them."""
        if not kept:
            return []
        return artifact.shared(self._source.artifacts, self._source.uid, new_run_id)

    def _first(self) -> str | None:
        """Return the first step that is not kept. None: the run has no steps."""
        if self._from != FAILED:
            return self._from
        if not self._steps:
            return None
        named = (self._failed.get("step_id"), self._of_failed_child(), self._failed.get("block_step_id"))
        for step_id in named:
            if step_id in self._steps:
                return str(step_id)
        for step_id, step in self._steps.items():
            if step.failed_at == self._last_end:  # its worker was lost before it completed the run
                return step_id
        ended = [step_id for step_id, step in self._steps.items() if step.ended]
        unfinished = [
            step_id
            for step_id, step in self._steps.items()
            if not step.ended and all(_is_before(one, step_id) for one in ended)
        ]
        if unfinished:
            return min(unfinished, key=_position)
        return str(max(_position(step_id)[0] for step_id in self._steps) + 1)

    def _of_failed_child(self) -> str | None:
        """Return the step that created the child whose failure failed the run."""
        error = {} if self._source.error is None else msgspec.json.decode(self._source.error)
        detail = error.get("detail")
        child = detail.get("child_run_id") if isinstance(detail, dict) else None
        return next((one for one, step in self._steps.items() if child and step.child == child), None)


def _copied(kept: _Kept) -> NewEvent:
    return NewEvent(kept.type, kept.payload, source="retry", is_error=kept.is_error)


def _step_not_found(step_id: str) -> Error:
    return Error(
        "STEP_NOT_FOUND",
        f"The run has no step {step_id!r} in its log: name the stepId of one of its STEP_STARTED events, or {FAILED!r}",
        errors=(("$.from_step", "not a step of the run"),),
    )


def _is_step(step_id: Any) -> TypeGuard[str]:
    return isinstance(step_id, str) and _STEP_ID.fullmatch(step_id) is not None


def _position(step_id: str) -> list[int]:
    return [int(number) for number in step_id.split(".")]


def _is_before(step_id: str, first: str) -> bool:
    """Whether a step keeps its result if `first` runs again: it comes before, or it is in another branch."""
    if step_id == first or step_id.startswith(f"{first}."):
        return False
    for depth, (a, b) in enumerate(zip(_position(first), _position(step_id), strict=False)):
        if a != b:
            return depth % 2 == 1 or b < a
    return True
