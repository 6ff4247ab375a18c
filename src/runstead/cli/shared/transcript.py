"""Prints the events of a run: joined text, a line per tool call, waits with their resume command."""

import re
import shlex
import threading
from collections.abc import Callable, Collection
from typing import Any, Final

import msgspec

from runstead.cli.shared.log_entries import rest_of_log
from runstead.cli.shared.render import Screen, safe
from runstead.cli.shared.run_tables import BLOCKED_HELP, placeholder
from runstead.cli.shared.wait_lines import (
    WaitLines,
    describe_custom,
    describe_wait,
    resumed_line,
    resumes_by_itself,
)
from runstead.sdk.models.event import Event
from runstead.sdk.models.run import Run

_TEXT: Final = frozenset({"TEXT_MESSAGE_CONTENT", "TEXT_MESSAGE_CHUNK"})
#: Events that are not shown, or whose content other events show.
_SILENT: Final = frozenset(
    {
        *(
            "TEXT_MESSAGE_START",
            "TEXT_MESSAGE_END",
            "REASONING_START",
            "REASONING_END",
            "REASONING_MESSAGE_START",
        ),
        *("REASONING_MESSAGE_CONTENT", "REASONING_MESSAGE_CHUNK", "REASONING_MESSAGE_END", "STATE_DELTA"),
        *("STATE_SNAPSHOT", "MESSAGES_SNAPSHOT"),
    }
)
_SILENT_CUSTOM: Final = frozenset(
    {"run.now", "run.blocked", "run.gather_failed", "run.patched", "run.failed_step"}
)
#: The call id of a handler that waits for an event: its name and the step follow.
_EVENT_CALL: Final = re.compile(r"event:(.+):[^:]+", re.DOTALL)
_TOOL_CHARS_MAX: Final = 64 * 1024


class Call:
    """A tool call while its arguments arrive."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.arguments = ""

    def add(self, delta: object) -> None:
        if isinstance(delta, str) and len(self.arguments) < _TOOL_CHARS_MAX:
            self.arguments += delta

    def __str__(self) -> str:
        return f"{self.name}({self.arguments})"


class Transcript:
    """Prints events with `out(text)`, which adds no newline. Thread-safe."""

    def __init__(self, run_id: str, out: Callable[[str], None], screen: Screen) -> None:
        self._run_id = run_id
        self._current_run_id = run_id
        self._out = out
        self._screen = screen
        self._calls: dict[str, Call] = {}
        self._mid_line = False
        self._open_call: str | None = None  # its line has no newline yet: its result may follow
        self._asked: set[str] = set()
        self._waits = WaitLines(screen)
        self._last_lines: str | None = None  # of the run's log
        self._lock = threading.Lock()

    def event(self, event: Event) -> None:
        with self._lock:
            if (
                event.run_id is not None and event.run_id != self._current_run_id
            ):  # in a family, the id of each run precedes its events
                self._current_run_id = event.run_id
                self._line("", f"[{event.run_id}]")
            self._event(event.event_type, event.payload)

    def waiting(self, run: Run) -> None:
        """Print that the run waits, unless an event has shown it already."""
        with self._lock:
            call = (run.waiting_tool_call_id or "").partition("~")[0]
            if run.blocked is not None:
                call = run.blocked  # each try waits with another call id
            reason = "pause" if run.paused else run.waiting_reason or "something"
            if f"{reason} {call}" in self._asked or (call and call in self._asked):
                return
            self._asked.add(f"{reason} {call}")
            if run.blocked is not None:
                self._line("blocked", f"blocked: {run.blocked}")
                self._out(f"  {BLOCKED_HELP.format(run=safe(shlex.quote(run.run_id)))}\n")
                return
            if (resumes := resumes_by_itself(run, self._screen)) is not None:
                self._line("waiting", resumes)
                return
            name = "" if reason == "pause" else run.waiting_tool_name or ""
            self._wait(f"waits for {reason} {name}".rstrip(), reason, run.waiting_tool_call_id or "")

    def is_new_wait(self, child: Run) -> bool:
        """Whether this wait of a child is not printed yet."""
        with self._lock:
            return _wait_key(child) not in self._asked

    def child_waiting(self, child: Run, question: str | None) -> None:
        """Print what a child, for which the run waits, waits for itself."""
        with self._lock:
            self._asked.add(_wait_key(child))
            what = describe_wait(child, self._screen) if question is None else f"asks: {question}"
            self._line("waiting", f"  {child.run_id} {what}")
            if resumes_by_itself(child, self._screen) is None and child.waiting_reason:
                reason = "pause" if child.paused else child.waiting_reason
                command = resume_command(child.run_id, reason, child.waiting_tool_call_id or "")
                self._out(f"    {command}\n")

    def not_served(self, run: Run, targets: Collection[str]) -> None:
        """Print that no active worker serves the run. `targets`: what the active workers serve; empty: none is active."""
        with self._lock:
            what = f"no active worker serves {run.target}"
            rest = (
                f"; they serve {', '.join(sorted(targets))}"
                if targets
                else ": start one with `runstead worker`"
            )
            self._line("waiting", f"pending: {what}{rest}")

    def ended(self, run: Run) -> None:
        with self._lock:
            self._end_line()
            if run.logs and (rest := rest_of_log(run.logs, self._last_lines)):
                self._out(safe(rest, lines=True) + "\n")
            took = "" if run.duration_ms is None else f" after {run.duration_ms / 1000:.1f} s"
            self._line(run.status, f"{run.status}{took}")
            if run.output is not None and run.kind != "agent":  # an agent's output is its messages
                self._line("", f"output {placeholder(run.output, run.run_id) or _one_line(run.output)}")
            if run.error is not None:
                code = f" ({run.error.code})" if run.error.code else ""
                text = f"{run.error.message}{code}"
                if run.error.traceback is not None:  # it ends with the type and the message
                    text = run.error.traceback.rstrip("\n")
                self._out(safe(text, lines=True) + "\n")

    def close(self) -> None:
        """End the last line, so that later output starts on a new one."""
        with self._lock:
            self._end_line()

    def _event(self, kind: str, payload: dict[str, Any]) -> None:
        if kind in _TEXT:
            self._text(payload.get("delta"))
        elif kind.startswith("TOOL_CALL_"):
            self._tool(kind, payload)
        elif kind == "CUSTOM":
            self._custom(str(payload.get("name")), payload.get("value"))
        elif kind in {"STEP_STARTED", "STEP_FINISHED"}:
            self._step(kind, payload)
        elif kind == "RUN_STARTED":
            self._line("", "started")
        elif kind not in {"RUN_FINISHED", "RUN_ERROR"} and kind not in _SILENT:
            self._line("", f"{kind} {_one_line({name: payload[name] for name in payload if name != 'type'})}")

    def _step(self, kind: str, payload: dict[str, Any]) -> None:
        shown = self._waits.step(kind, payload, self._current_run_id)
        if shown is not None:
            status, text, call = shown
            self._asked.add(call)
            if text:
                self._line(status, text)
            return
        name, failure = payload.get("stepName"), payload.get("error")
        if failure is None and isinstance(name, str) and name.startswith("spawn "):
            if kind == "STEP_FINISHED":
                self._line(
                    "", f"started {name.removeprefix('spawn ')} {_run_id(payload.get('result'))}".rstrip()
                )
            return
        if kind == "STEP_STARTED":
            self._line("", f"step {name}")
        elif failure is not None:
            self._line("failed", f"step {name} failed: {_failure(failure)}")
        else:
            self._line("", f"step {name} done")

    def _text(self, delta: object) -> None:
        if isinstance(delta, str) and delta:
            if self._open_call is not None:
                self._end_line()
            self._out(safe(delta, lines=True))
            self._mid_line = not delta.endswith("\n")

    def _tool(self, kind: str, payload: dict[str, Any]) -> None:
        call_id = str(payload.get("toolCallId"))
        if kind == "TOOL_CALL_RESULT":
            result = payload.get("content", payload.get("result"))
            self._result(call_id, result if isinstance(result, str) else _one_line(result))
            return
        call = self._calls.get(call_id)
        if call is None:
            call = self._calls[call_id] = Call(str(payload.get("toolCallName", call_id)))
        call.add(payload.get("delta"))
        if kind == "TOOL_CALL_END":
            self._end_line()
            self._out(self._half(f"tool {call}"))
            self._mid_line, self._open_call = True, call_id

    def _result(self, call_id: str, result: str) -> None:
        call = self._calls.pop(call_id, None)
        if self._open_call != call_id:
            self._end_line()
            self._out(self._half(f"tool {call.name if call else call_id}"))
        self._out(f"{self._half(f' -> {result}')}\n")
        self._mid_line, self._open_call = False, None

    def _half(self, text: str) -> str:
        """The text cut to half a line: a call takes one half, its result the other."""
        width = self._screen.width
        return self._screen.line(text) if width is None else Screen(width // 2, colour=False).line(text)

    def _custom(self, name: str, value: Any) -> None:
        found = value if isinstance(value, dict) else {}
        if name == "run.progress":
            fraction = found.get("fraction")
            share = f"{fraction:.0%} " if isinstance(fraction, int | float) else ""
            self._line("", f"{share}{found.get('message') or ''}".rstrip())
        elif name == "run.value":
            self._line("", f"{found.get('name')} = {_one_line(found.get('value'))}")
        elif (lines := _lines(name, found)) is not None:
            self._end_line()
            if name == "run.log" and self._current_run_id == self._run_id:
                self._last_lines = lines.rstrip("\n")
            self._out(safe(lines, lines=True).rstrip("\n") + "\n")
        elif name == "run.asked":
            call = str(found.get("tool_call_id"))
            self._asked.add(call)
            approval = "question" in found
            what = f"asks: {found['question']}" if approval else f"waits for the event {found.get('event')}"
            what += self._waits.expiry(call, self._current_run_id)
            self._wait(what, "approval" if approval else "event", call)
        elif name == "run.resumed":
            if (text := resumed_line(found)) is not None:
                self._line("", text)
        elif name not in _SILENT_CUSTOM:
            described = describe_custom(name, found)
            self._line("", f"{name} {_one_line(value)}" if described is None else described)

    def _wait(self, what: str, reason: str, call_id: str) -> None:
        self._line("waiting", what)
        self._out(f"  {resume_command(self._current_run_id, reason, call_id)}\n")

    def _line(self, status: str, text: str) -> None:
        self._end_line()
        self._out(self._screen.paint(self._screen.line(text), status) + "\n")

    def _end_line(self) -> None:
        if self._mid_line:
            self._out("\n")
        self._mid_line, self._open_call = False, None


def _wait_key(run: Run) -> str:
    return f"{run.run_id} {run.waiting_reason} {run.waiting_tool_call_id}"


def resume_command(run_id: str, reason: str, call_id: str) -> str:
    """The command that resumes the run or, for a form, that shows it."""
    if reason == "input":
        return safe(shlex.join(["runstead", "inputs", "get", run_id]))
    if reason == "event" and (found := _EVENT_CALL.fullmatch(call_id)) is not None:
        return safe(shlex.join(["runstead", "runs", "signal", run_id, found[1], "null"]))
    line = ["runstead", "runs", "approve" if reason == "approval" else "resume", run_id]
    if reason not in ("approval", "pause"):
        line += ["--result", "null"]
    if call_id and reason != "pause":
        line += ["--tool-call-id", call_id]
    return safe(shlex.join(line))


def _lines(name: str, found: dict[str, Any]) -> str | None:
    """The lines of a log event, or the text of an output event."""
    text = found.get({"run.log": "lines", "run.output": "text"}.get(name, ""))
    return text if isinstance(text, str) else None


def _run_id(result: Any) -> str:
    """The id of the child that a step created."""
    return str(result.get("run_id", "")) if isinstance(result, dict) else ""


def _failure(failure: Any) -> str:
    """The message of a step's error after its type, such as `KeyError: 'a'`."""
    if not isinstance(failure, dict):
        return str(failure)
    message = str(failure.get("message", failure))
    return f"{failure['type']}: {message}" if isinstance(failure.get("type"), str) else message


def _one_line(found: Any) -> str:
    return msgspec.json.encode(found).decode()
