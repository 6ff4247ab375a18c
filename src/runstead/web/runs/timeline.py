"""Builds the bars of a run's timeline from its events, its attempts and its child runs. Pure.

Events of clients never cause an error: members of the wrong type, and ends without a start, are ignored.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal

import msgspec
from msgspec.structs import replace

from runstead.core.limits import step_id_chars_max
from runstead.core.runs.event import Event, members_of
from runstead.core.runs.run import Run, RunStatus
from runstead.core.runs.transition import EndedAttempt

Kind = Literal["attempt", "step", "tool", "wait", "child"]
State = Literal["open", "done", "failed", "broken"]
"""`broken`: interrupted by a lost lease, a cancellation, or the end of the run."""

#: The event types that produce bars. No others are read.
TYPES: Final = (
    "STEP_STARTED",
    "STEP_FINISHED",
    "TOOL_CALL_START",
    "TOOL_CALL_END",
    "TOOL_CALL_RESULT",
    "CUSTOM",
)
bars_max: Final = 500
name_chars_max: Final = 200
_numbers_max: Final = 21  # in a step's id: ten nested gathers
_CHILD_STATES: Final[dict[RunStatus, State]] = {
    RunStatus.COMPLETED: "done",
    RunStatus.FAILED: "failed",
    RunStatus.CANCELLED: "broken",
}
_ATTEMPT_STATES: Final[dict[str, State]] = {"parked": "done", "paused": "done", "dispatch_failed": "failed"}
_WAITS: Final = {
    "tool": "Waiting for a tool",
    "approval": "Waiting for an approval",
    "event": "Waiting for an event",
    "input": "Waiting for input",
    "pause": "Paused",
}
_COPIED: Final = "result of the earlier run"
_BLOCKED: Final = "Blocked: its code has changed"


class Bar(msgspec.Struct, frozen=True):
    """One row of the timeline.

    Times are ms; `end` is None while it is open. `depth` is 0 for attempts, 1 for steps of the handler, 2 and
    more for steps inside them. `run_id` is set for a child run. `event_id` is the event that started it, or 0. A retry
    can go on from the step `step_id`.
    """

    name: str
    kind: Kind
    depth: int
    start: int
    end: int | None = None
    state: State = "open"
    note: str = ""
    run_id: str | None = None
    event_id: int = 0
    step_id: str = ""


class Timeline:
    """Collects bars from events of `TYPES`. `full_at` is the first event whose bar exceeded the limit."""

    def __init__(self, limit: int = bars_max) -> None:
        self.full_at: int | None = None
        self._limit = limit
        self._bars: list[Bar] = []
        self._open: dict[tuple[str, str], list[int]] = {}  # indexes of bars, by step or tool call
        self._arguments_ended_at: dict[str, int] = {}  # by tool call
        self._waits_without_start: list[int] = []  # indexes of bars that only an end event describes
        self._blocked: int | None = None  # the index of the last bar of a wait for other code
        self._gathers: dict[str, list[int]] = {}  # indexes of the steps of all branches, by gather id
        self._created: dict[int, str] = {}  # the child that a step created, by the index of its bar

    def add(self, event: Event) -> None:
        payload = members_of(event)
        if payload is None:
            return
        match event.type:
            case "STEP_STARTED":
                self._start_step(event, payload)
            case "STEP_FINISHED":
                failure, result = payload.get("error"), payload.get("result")
                if isinstance(result, dict) and _text(payload.get("stepName")).startswith("spawn "):
                    for index in self._open.get(("step", _step(payload)), ())[-1:]:
                        self._created[index] = _text(result.get("run_id"))
                note = failure.get("message") if isinstance(failure, dict) else failure
                note = _text(note) or (_COPIED if event.source == "retry" else "")
                self._close("step", _step(payload), event, failed=bool(failure), note=note)
            case "TOOL_CALL_START":
                name = _text(payload.get("toolCallName")) or "tool"
                self._start(event, ("tool", _text(payload.get("toolCallId"))), name, "tool", self._inside())
            case "TOOL_CALL_END":
                self._arguments_ended_at[_text(payload.get("toolCallId"))] = event.created_at
            case "TOOL_CALL_RESULT":
                failed = payload.get("isError") is True
                self._close("tool", _text(payload.get("toolCallId")), event, failed=failed)
            case "CUSTOM":
                value = payload.get("value")
                if isinstance(value, dict):
                    self._add_custom(event, payload.get("name"), value)

    def bars(
        self, run: Run, attempts: Sequence[EndedAttempt] = (), children: Iterable[Run] = ()
    ) -> list[Bar]:
        """All bars in order of their start, for the run in its current state."""
        found, children = list(_attempts(run, attempts)), list(children)
        inner = [self._settled(index, bar, run) for index, bar in enumerate(self._bars)]
        if run.blocked and self._blocked is not None:
            inner[self._blocked] = replace(inner[self._blocked], end=None, state="open")
        parked = [one.ended_at for one in attempts if one.outcome in ("parked", "paused")]
        for index in self._waits_without_start:
            bar = inner[index]
            before = [at for at in parked if at <= bar.start]
            inner[index] = replace(bar, start=max(before, default=bar.start))
        # A child has its own bar: the step that created it adds nothing.
        shown = {child.run_id for child in children}
        found += [bar for index, bar in enumerate(inner) if self._created.get(index) not in shown]
        found += [
            _gather(gather, [inner[index] for index in indexes]) for gather, indexes in self._gathers.items()
        ]
        if run.status is RunStatus.WAITING and not any(
            bar.state == "open" and bar.kind in ("wait", "tool") for bar in inner
        ):
            started = max(parked, default=run.updated_at)
            found.append(Bar(_wait(run), "wait", 1, started, run_id=run.waiting_run_id))
        steps = {child: self._bars[index].step_id for index, child in self._created.items()}
        found += [_child(child, steps.get(child.run_id, "")) for child in children]
        return sorted(found, key=lambda bar: (bar.start, bar.depth, bar.event_id))

    # Starts

    def _start_step(self, event: Event, payload: dict[str, Any]) -> None:
        name, step_id = _text(payload.get("stepName")) or "step", _text(payload.get("stepId"))
        waits = bool(step_id) and (
            name in ("sleep", "approval") or name.startswith("event ") or "until" in payload
        )
        # 3.1.2 is the second step in the first branch of the gather that is step 3.
        numbers = step_id.split(".")[:_numbers_max]
        index = len(self._bars)
        self._start(event, ("step", _step(payload)), name, "wait" if waits else "step", 1 + len(numbers) // 2)
        if len(self._bars) > index:
            if numbers[0].isdecimal():  # of the SDK: others have no step to go on from
                self._bars[index] = replace(self._bars[index], step_id=step_id[:step_id_chars_max])
            for length in range(1, len(numbers) - 1, 2):
                self._gathers.setdefault(".".join(numbers[:length]), []).append(index)

    def _start(self, event: Event, key: tuple[str, str], name: str, kind: Kind, depth: int) -> None:
        if self.full_at is not None:
            return
        if len(self._bars) >= self._limit:
            self.full_at = event.event_id
            return
        self._open.setdefault(key, []).append(len(self._bars))
        at = event.created_at
        self._bars.append(Bar(name[:name_chars_max], kind, depth, at, event_id=event.event_id))

    def _inside(self) -> int:
        """The depth of a bar that starts now: one more than the deepest open step."""
        indexes = [index for (kind, _), indexes in self._open.items() if kind == "step" for index in indexes]
        return 1 + max((self._bars[index].depth for index in indexes), default=0)

    # Ends

    def _close(self, kind: str, key: str, event: Event, *, failed: bool = False, note: str = "") -> None:
        indexes = self._open.get((kind, key))
        if not indexes:
            return
        index = indexes.pop()
        if not indexes:
            del self._open[kind, key]
        bar = self._bars[index]
        state: State = "failed" if failed else "done"
        note = note[:name_chars_max] or bar.note
        self._bars[index] = replace(bar, end=event.created_at, state=state, note=note)

    def _settled(self, index: int, bar: Bar, run: Run) -> Bar:
        """The bar, closed if it is still open when the run has ended."""
        if bar.state != "open" or not run.terminal:
            return bar
        for (kind, key), indexes in self._open.items():
            if index in indexes and kind == "tool" and key in self._arguments_ended_at:
                return replace(bar, end=max(self._arguments_ended_at[key], bar.start), state="done")
        return replace(bar, end=max(run.completed_at or run.updated_at, bar.start), state="broken")

    # Custom events of the SDK and the server

    def _add_custom(self, event: Event, name: Any, value: dict[str, Any]) -> None:
        match name:
            case "run.asked":
                asked = _text(value.get("question")) or _text(value.get("event"))
                self._note(_asked_step(_text(value.get("tool_call_id"))), asked)
            case "run.step_retried":
                tries, message = value.get("tries"), _text(value.get("message"))
                self._note(_text(value.get("step_id")), f"try {tries} failed: {message}")
            case "run.retried":
                key, again = (
                    ("step", f"retry:{value.get('retry')}"),
                    f"{value.get('retry')} of {value.get('of')}",
                )
                self._start(event, key, f"Retry {again}"[:name_chars_max], "wait", 1)
                self._note(key[1], _text(value.get("message")))
            case "run.blocked":
                found, expected = _text(value.get("found")) or "nothing", _text(value.get("expected"))
                self._start(event, ("step", "blocked"), _BLOCKED, "wait", 1)
                self._note("blocked", f"{found} instead of {expected}")
                self._blocked = self._open.pop(("step", "blocked"), [None])[-1]
            case "run.resumed" if not event.external:
                self._add_resumed(event, value)

    def _note(self, step_id: str, note: str) -> None:
        for index in self._open.get(("step", step_id), [])[-1:]:
            self._bars[index] = replace(self._bars[index], note=note[:name_chars_max])

    def _add_resumed(self, event: Event, value: dict[str, Any]) -> None:
        call_id, failed = _text(value.get("tool_call_id")), value.get("is_error") is True
        if call_id.startswith("blocked:"):
            if self._blocked is not None:  # each try ends the wait, and the last one counts
                bar = self._bars[self._blocked]
                self._bars[self._blocked] = replace(bar, end=event.created_at, state="done")
            return
        for key in (call_id, _asked_step(call_id)):
            indexes = self._open.get(("step", key))
            if indexes and self._bars[indexes[-1]].kind == "wait":
                self._close("step", key, event, failed=failed)
                return
        if self._open.get(("tool", call_id)):
            self._close("tool", call_id, event, failed=failed)
            return
        if self.full_at is not None or len(self._bars) >= self._limit:
            return
        kind = _text(value.get("type"))
        name = "Paused" if kind == "unpause" else f"Waited for {_ANSWERS.get(kind, kind or 'something')}"
        state: State = "failed" if failed else "done"
        # `run:<run id>:<step id>`
        child = call_id.removeprefix("run:").rpartition(":")[0] if call_id.startswith("run:") else None
        self._waits_without_start.append(len(self._bars))
        at = event.created_at
        bar = Bar(
            name=name[:name_chars_max],
            kind="wait",
            depth=1,
            start=at,
            end=at,
            state=state,
            note="" if child else call_id[:name_chars_max],
            run_id=child or None,
            event_id=event.event_id,
        )
        self._bars.append(bar)


_ANSWERS: Final = {
    "approval": "an approval",
    "event": "an event",
    "input": "input",
    "timer": "a time",
    "run": "a child run",
}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _step(payload: dict[str, Any]) -> str:
    return _text(payload.get("stepId")) or f"name:{_text(payload.get('stepName'))}"


def _asked_step(call_id: str) -> str:
    """The step id in a call id such as `approval:3` or `event:paid:3.1.2~1`."""
    return call_id.rpartition(":")[2].partition("~")[0]


def _wait(run: Run) -> str:
    """The run's current wait, in words."""
    if run.waiting_run_id is not None:
        return f"Waiting for the run {run.waiting_run_id}"
    if run.blocked:
        return _BLOCKED
    what = "" if run.waiting_tool_name is None else f": {run.waiting_tool_name}"
    return (_WAITS[run.waiting_reason or "event"] + what)[:name_chars_max]


def _gather(gather: str, steps: Sequence[Bar]) -> Bar:
    """The bar of a gather, which has no events of its own: it spans the steps of its branches."""
    ends = [bar.end for bar in steps if bar.end is not None]
    state: State = "open" if len(ends) < len(steps) else "done"
    first = min(steps, key=lambda bar: (bar.start, bar.event_id))
    end = None if state == "open" else max(ends)
    depth, event_id = 1 + gather.count(".") // 2, first.event_id
    return Bar(
        "gather", "step", depth, start=first.start, end=end, state=state, event_id=event_id, step_id=gather
    )


def _attempts(run: Run, ended: Sequence[EndedAttempt]) -> Iterable[Bar]:
    started_at = run.started_at or (run.completed_at if run.terminal else None)
    if started_at is None or started_at - run.created_at >= 1_000:
        state: State = "open" if started_at is None else "done"
        name = "In the queue" if run.queued else "Not started"
        yield Bar(name, "wait", 0, start=run.created_at, end=started_at, state=state)
    for one in ended:
        name, note = f"Attempt {one.attempt}", one.outcome.replace("_", " ")
        state = _ATTEMPT_STATES.get(one.outcome, "broken")
        yield Bar(name, "attempt", 0, start=one.started_at, end=one.ended_at, state=state, note=note)
    over = bool(ended) and ended[-1].attempt == run.attempt
    if run.attempt_started_at is not None and run.attempt and not over:
        name, start = f"Attempt {run.attempt}", run.attempt_started_at
    elif run.started_at is not None and not run.attempt:
        name, start = "Run", run.started_at
    else:
        return
    if run.terminal:
        end, state = max(run.completed_at or start, start), _CHILD_STATES[run.status]
        yield Bar(name, "attempt", 0, start=start, end=end, state=state, note=run.status.value)
    else:
        yield Bar(name, "attempt", 0, start)


def _child(run: Run, step_id: str) -> Bar:
    name = (run.title or run.target or run.run_id)[:name_chars_max]
    state, end = _CHILD_STATES.get(run.status, "open"), run.completed_at
    return Bar(
        name,
        "child",
        1,
        start=run.created_at,
        end=end,
        state=state,
        note=run.status.value,
        run_id=run.run_id,
        step_id=step_id,
    )
