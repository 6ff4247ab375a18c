"""Describes what a run waits for, until when, and what happens then."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec

from runstead.cli.shared.render import Screen, format_size, format_time

if TYPE_CHECKING:
    from runstead.sdk.models.run import Run

_UNITS: Final = (("d", 86_400, 2 * 86_400), ("h", 3_600, 2 * 3_600), ("min", 60, 90))


def format_left(seconds: float) -> str:
    """`45 s`, `3 min`, `5 h`, `12 d`."""
    for unit, length, least in _UNITS:
        if seconds >= least:
            return f"{round(seconds / length)} {unit}"
    return f"{max(round(seconds), 0)} s"


def format_until(at: datetime, screen: Screen, now: datetime | None = None) -> str:
    """`14:05 (3 min)` in this machine's time zone; the date too, if it is another day. In a pipe, ISO 8601 in UTC."""
    now = now or datetime.now(UTC)
    if screen.width is None:
        return format_time(at)
    local = at.astimezone()
    day = "" if local.date() == now.astimezone().date() else f"{local:%Y-%m-%d} "
    seconds = (at - now).total_seconds()
    clock = f"{local:%H:%M}" if seconds >= 60 else f"{local:%H:%M:%S}"
    return f"{day}{clock} ({format_left(seconds)})"


def format_expiry(at: datetime, screen: Screen, now: datetime | None = None) -> str:
    """`expires in 8 min, then fails`: what an approval or an event with a timeout does."""
    if screen.width is None:
        return f"expires {format_time(at)}, then fails"
    return f"expires in {format_left((at - (now or datetime.now(UTC))).total_seconds())}, then fails"


def waited_child(run: "Run") -> str | None:
    """The id of the child run that the run waits for."""
    name = run.waiting_tool_name or ""
    child = run.waiting_run_id or (name.removeprefix("run:") if name.startswith("run:") else None)
    return child if (run.waiting_tool_call_id or "").startswith("run:") else None


def resumes_by_itself(run: "Run", screen: Screen) -> str | None:
    """What the run waits for, if nothing has to be sent to it; None if a person or a system has to resume it."""
    call = run.waiting_tool_call_id or ""
    if run.paused or run.status != "waiting":
        return None
    if (child := waited_child(run)) is not None:
        return f"waits for run {child}"
    if run.resume_at is not None:
        if call.startswith("sleep:"):
            return f"sleeps until {format_until(run.resume_at, screen)}"
        if call.startswith("retry:"):
            return f"is retried at {format_until(run.resume_at, screen)}"
    return None


def describe_wait(run: "Run", screen: Screen, ends_at: datetime | None = None) -> str:
    """What a waiting run waits for, on one line. `ends_at`: when its approval or event expires."""
    found = resumes_by_itself(run, screen)
    if found is not None:
        return found
    text = " ".join(dict.fromkeys(filter(None, (run.waiting_reason, run.waiting_tool_name))))
    text = text.replace("event event:", "the event ", 1)  # its name, from a handler's wait
    if ends_at is not None:
        return f"{text} ({format_expiry(ends_at, screen)})"
    if run.resume_at is not None:
        return f"{text} (until {format_until(run.resume_at, screen)})"
    return text


def is_answered(run: "Run") -> bool:
    """Whether the run waits for an answer to a call of a handler's context, which may expire."""
    return (run.waiting_tool_call_id or "").startswith(("approval:", "event:"))


def step_of_call(call_id: str) -> str:
    """The step id in the call id of a wait: 3 in `approval:3` and in `approval:3~1`, of a retried run."""
    return call_id.rpartition(":")[2].partition("~")[0]


class WaitLines:
    """Recognizes the steps of an event log that are waits, and when they end."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._ends: dict[tuple[str, str], datetime] = {}
        self._known: set[tuple[str, str]] = set()

    def expiry(self, call_id: str, run_id: str) -> str:
        """` (expires in 8 min, then fails)`; empty for a wait without a timeout."""
        step = (run_id, step_of_call(call_id))
        self._known.add(step)
        at = self._ends.get(step)
        return "" if at is None else f" ({format_expiry(at, self._screen)})"

    def step(self, kind: str, payload: dict[str, Any], run_id: str) -> tuple[str, str, str] | None:
        """The status, the text and the call id of a wait's start or end; None for another step.

        An empty text: other events show it.
        """
        name, step_id = str(payload.get("stepName")), str(payload.get("stepId"))
        if kind == "STEP_FINISHED":
            if (run_id, step_id) not in self._known:
                return None
            if payload.get("timedOut"):
                return "failed", f"{name} timed out", ""
            return "", "slept" if name == "sleep" and not payload.get("closed") else "", ""
        until = read_time(payload.get("until"))
        if until is None:
            return ("", "", "") if name == "approval" or name.startswith("event ") else None
        self._known.add((run_id, step_id))
        self._ends[run_id, step_id] = until
        if name != "sleep":
            return "", "", ""
        return "waiting", f"sleeps until {format_until(until, self._screen)}", f"sleep:{step_id}"


def read_time(text: object) -> datetime | None:
    """The time of a text in ISO 8601; None for anything else."""
    try:
        at = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return at if at is None or at.tzinfo is not None else at.replace(tzinfo=UTC)


def resumed_line(found: dict[str, Any]) -> str | None:
    """The line of a `run.resumed` event; None if other lines show it."""
    kind, call = found.get("type"), str(found.get("tool_call_id"))
    if call.startswith("blocked:"):
        return None
    if kind == "timer":
        return None if call.startswith(("sleep:", "approval:", "event:", "retry:")) else "resumed by timer"
    if kind == "run":
        child = call.removeprefix("run:").rpartition(":")[0]
        result = found.get("result")
        status = result.get("status") if isinstance(result, dict) else None
        return f"run {child or call} {status or 'ended'}"
    return f"resumed by {kind}: {msgspec.json.encode(found.get('result')).decode()}"


def describe_custom(name: str, found: dict[str, Any]) -> str | None:
    """The line of a CUSTOM event of the SDK or the server; None for any other event."""
    code = f" ({found['code']})" if isinstance(found.get("code"), str) else ""
    if name == "run.step_retried":
        return f"step {found.get('step_name')} try {found.get('tries')} failed, retries: {found.get('message')}{code}"
    if name == "run.retried":
        return f"failed, retry {found.get('retry')} of {found.get('of')}: {found.get('message')}{code}"
    if name == "run.retry_from":
        return f"goes on from step {found.get('step_id')} of {found.get('run_id')}"
    if name == "run.artifact":
        size = found.get("size")
        parts = [format_size(size) if isinstance(size, int) else "", str(found.get("media_type") or "")]
        described = ", ".join(filter(None, parts))
        return f"artifact {found.get('name')}" + (f" ({described})" if described else "")
    if name == "run.usage":
        model = "/".join(str(found[part]) for part in ("provider", "model") if found.get(part))
        return f"{found.get('inputTokens') or 0:,} input, {found.get('outputTokens') or 0:,} output tokens of {model}"
    return None
