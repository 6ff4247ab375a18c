"""What a run did, and when: bars for a waterfall, folded from its events, its attempts and the runs below it. Pure.

Nothing here raises for what a client appended: members of the wrong type and ends without a beginning are passed over.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal

import msgspec
from msgspec.structs import replace

from runstead.core.runs.event import Event, members_of
from runstead.core.runs.run import Run, RunStatus
from runstead.core.runs.transition import EndedAttempt

Kind = Literal["attempt", "step", "tool", "wait", "child"]
State = Literal["open", "done", "failed", "broken"]
"""`broken`: it was left before its end, by a lost lease, a cancel, or the end of the run."""

#: The types that tell of bars; all others are left unread.
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
_numbers_max: Final = 21  # of a step's id: gathers in gathers, ten deep
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


class Bar(msgspec.Struct, frozen=True):
    """One row. Times are ms; `end` None: it is not over. `depth` 0 are attempts, 1 what the handler does itself, 2 and more
    what is inside of that. `note` says more; `run_id` is the child's; `event_id` where it began, 0 where no event tells.
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


class Timeline:
    """Takes events of `TYPES` in order, one by one. `full_at`: the event at which there was no room for another bar."""

    def __init__(self, room: int = bars_max) -> None:
        self.full_at: int | None = None
        self._room = room
        self._bars: list[Bar] = []
        self._open: dict[tuple[str, str], list[int]] = {}  # places of bars, by step or tool call
        self._said: dict[str, int] = {}  # when the arguments of a tool call were whole, by its id
        self._unbegun: list[int] = []  # waits of which only the end is told
        self._gathers: dict[str, list[int]] = {}  # places of all steps of a gather's branches, by its id

    def add(self, event: Event) -> None:
        told = members_of(event)
        if told is None:
            return
        match event.type:
            case "STEP_STARTED":
                self._start_step(event, told)
            case "STEP_FINISHED":
                failure = told.get("error")
                note = failure.get("message") if isinstance(failure, dict) else failure
                self._close("step", _step(told), event, failed=bool(failure), note=_text(note))
            case "TOOL_CALL_START":
                name = _text(told.get("toolCallName")) or "tool"
                self._start(event, ("tool", _text(told.get("toolCallId"))), name, "tool", self._inside())
            case "TOOL_CALL_END":
                self._said[_text(told.get("toolCallId"))] = event.created_at
            case "TOOL_CALL_RESULT":
                failed = told.get("isError") is True
                self._close("tool", _text(told.get("toolCallId")), event, failed=failed)
            case "CUSTOM":
                value = told.get("value")
                if isinstance(value, dict):
                    self._add_custom(event, told.get("name"), value)

    def bars(
        self, run: Run, attempts: Sequence[EndedAttempt] = (), children: Iterable[Run] = ()
    ) -> list[Bar]:
        """All of them in the order in which they began, the run as it stands now."""
        found = list(_attempts(run, attempts))
        inner = [self._settled(place, bar, run) for place, bar in enumerate(self._bars)]
        parked = [one.ended_at for one in attempts if one.outcome in ("parked", "paused")]
        for place in self._unbegun:
            bar = inner[place]
            before = [at for at in parked if at <= bar.start]
            inner[place] = replace(bar, start=max(before, default=bar.start))
        found += inner
        found += [
            _gather(gather, [inner[place] for place in places]) for gather, places in self._gathers.items()
        ]
        if run.status is RunStatus.WAITING and not any(
            bar.state == "open" and bar.kind in ("wait", "tool") for bar in inner
        ):
            begun = max(parked, default=run.updated_at)
            found.append(Bar(_wait(run), "wait", 1, begun, run_id=run.waiting_run_id))
        found += map(_child, children)
        return sorted(found, key=lambda bar: (bar.start, bar.depth, bar.event_id))

    # What begins

    def _start_step(self, event: Event, told: dict[str, Any]) -> None:
        name, step_id = _text(told.get("stepName")) or "step", _text(told.get("stepId"))
        waits = bool(step_id) and (
            name in ("sleep", "approval") or name.startswith("event ") or "until" in told
        )
        # 3.1.2 is the second step in the first branch of the gather that is step 3.
        numbers = step_id.split(".")[:_numbers_max]
        place = len(self._bars)
        self._start(event, ("step", _step(told)), name, "wait" if waits else "step", 1 + len(numbers) // 2)
        if len(self._bars) > place:
            for length in range(1, len(numbers) - 1, 2):
                self._gathers.setdefault(".".join(numbers[:length]), []).append(place)

    def _start(self, event: Event, key: tuple[str, str], name: str, kind: Kind, depth: int) -> None:
        if self.full_at is not None:
            return
        if len(self._bars) >= self._room:
            self.full_at = event.event_id
            return
        self._open.setdefault(key, []).append(len(self._bars))
        at = event.created_at
        self._bars.append(Bar(name[:name_chars_max], kind, depth, at, event_id=event.event_id))

    def _inside(self) -> int:
        """The depth of what begins now: below the deepest step that is open."""
        places = [place for (kind, _), places in self._open.items() if kind == "step" for place in places]
        return 1 + max((self._bars[place].depth for place in places), default=0)

    # What ends

    def _close(self, kind: str, key: str, event: Event, *, failed: bool = False, note: str = "") -> None:
        places = self._open.get((kind, key))
        if not places:
            return
        place = places.pop()
        if not places:
            del self._open[kind, key]
        bar = self._bars[place]
        state: State = "failed" if failed else "done"
        note = note[:name_chars_max] or bar.note
        self._bars[place] = replace(bar, end=event.created_at, state=state, note=note)

    def _settled(self, place: int, bar: Bar, run: Run) -> Bar:
        """What is open still, once the run has ended."""
        if bar.state != "open" or not run.terminal:
            return bar
        for (kind, key), places in self._open.items():
            if place in places and kind == "tool" and key in self._said:
                return replace(bar, end=max(self._said[key], bar.start), state="done")
        return replace(bar, end=max(run.completed_at or run.updated_at, bar.start), state="broken")

    # What the SDK and the server tell

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
            case "run.resumed":
                self._add_resumed(event, value)

    def _note(self, step_id: str, note: str) -> None:
        for place in self._open.get(("step", step_id), [])[-1:]:
            self._bars[place] = replace(self._bars[place], note=note[:name_chars_max])

    def _add_resumed(self, event: Event, value: dict[str, Any]) -> None:
        call_id, failed = _text(value.get("tool_call_id")), value.get("is_error") is True
        for key in (call_id, _asked_step(call_id)):
            places = self._open.get(("step", key))
            if places and self._bars[places[-1]].kind == "wait":
                self._close("step", key, event, failed=failed)
                return
        if self._open.get(("tool", call_id)):
            self._close("tool", call_id, event, failed=failed)
            return
        if self.full_at is not None or len(self._bars) >= self._room:
            return
        kind = _text(value.get("type"))
        name = "Paused" if kind == "unpause" else f"Waited for {_ANSWERS.get(kind, kind or 'something')}"
        state: State = "failed" if failed else "done"
        self._unbegun.append(len(self._bars))
        at = event.created_at
        bar = Bar(
            name[:name_chars_max], "wait", 1, at, at, state, call_id[:name_chars_max], None, event.event_id
        )
        self._bars.append(bar)


_ANSWERS: Final = {
    "approval": "an approval",
    "event": "an event",
    "input": "input",
    "timer": "a time",
    "run": "a run below",
}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _step(told: dict[str, Any]) -> str:
    return _text(told.get("stepId")) or f"name:{_text(told.get('stepName'))}"


def _asked_step(call_id: str) -> str:
    """Of `approval:3` or `event:paid:3.1.2~1`: the id of the step that asks."""
    return call_id.rpartition(":")[2].partition("~")[0]


def _wait(run: Run) -> str:
    """The wait that the run is in, in words."""
    if run.waiting_run_id is not None:
        return f"Waiting for the run {run.waiting_run_id}"
    what = "" if run.waiting_tool_name is None else f": {run.waiting_tool_name}"
    return (_WAITS[run.waiting_reason or "event"] + what)[:name_chars_max]


def _gather(gather: str, steps: Sequence[Bar]) -> Bar:
    """No event tells of a gather: it is as long as the steps of its branches."""
    ends = [bar.end for bar in steps if bar.end is not None]
    state: State = "open" if len(ends) < len(steps) else "done"
    first = min(steps, key=lambda bar: (bar.start, bar.event_id))
    end = None if state == "open" else max(ends)
    return Bar(
        "gather", "step", 1 + gather.count(".") // 2, first.start, end, state, "", None, first.event_id
    )


def _attempts(run: Run, ended: Sequence[EndedAttempt]) -> Iterable[Bar]:
    began = run.started_at or (run.completed_at if run.terminal else None)
    if began is None or began - run.created_at >= 1_000:
        state: State = "open" if began is None else "done"
        yield Bar("In the queue" if run.queued else "Not begun", "wait", 0, run.created_at, began, state)
    for one in ended:
        state = _ATTEMPT_STATES.get(one.outcome, "broken")
        note = one.outcome.replace("_", " ")
        yield Bar(f"Attempt {one.attempt}", "attempt", 0, one.started_at, one.ended_at, state, note)
    over = bool(ended) and ended[-1].attempt == run.attempt
    if run.attempt_started_at is not None and run.attempt and not over:
        name, start = f"Attempt {run.attempt}", run.attempt_started_at
    elif run.started_at is not None and not run.attempt:
        name, start = "Run", run.started_at
    else:
        return
    if run.terminal:
        end = max(run.completed_at or start, start)
        yield Bar(name, "attempt", 0, start, end, _CHILD_STATES[run.status], run.status.value)
    else:
        yield Bar(name, "attempt", 0, start)


def _child(run: Run) -> Bar:
    name = (run.title or run.target or run.run_id)[:name_chars_max]
    state, end = _CHILD_STATES.get(run.status, "open"), run.completed_at
    return Bar(name, "child", 1, run.created_at, end, state, run.status.value, run.run_id)


def fold(events: Iterable[Event], room: int = bars_max) -> Timeline:
    """A timeline of these events."""
    found = Timeline(room)
    for event in events:
        found.add(event)
    return found
