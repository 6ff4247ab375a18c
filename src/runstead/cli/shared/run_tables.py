"""Formats runs as tables, as details and as trees."""

import shlex
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from runstead.cli.shared.render import (
    Column,
    Screen,
    format_age,
    format_duration,
    format_size,
    format_time,
    safe,
    value,
)
from runstead.cli.shared.wait_lines import describe_wait

if TYPE_CHECKING:
    from datetime import datetime

    from runstead.sdk.models.run import Attempt, Progress, Run, RunError, RunValue


#: The members that the table of runs and the tree show, beside those that every `Run` has.
RUN_FIELDS = (
    *("paused", "waiting_tool_name", "target", "workflow_id", "duration_ms", "attempt", "title", "error"),
    *("parent_run_id", "progress", "compensates"),
)
_BAR_CELLS = 20


#: How a run goes on whose code has changed.
BLOCKED_HELP = (
    "start a worker with fitting code: the run continues within a minute, or at once with `runstead runs resume"
    " {run}`. Or `runstead runs cancel {run}` and `runstead runs retry {run}`"
)


def run_columns(screen: Screen) -> "list[Column[Run]]":
    return [
        Column("RUN", lambda run: run.run_id, keep_whole=True),
        Column("STATUS", _status_and_share, status=True, keep_whole=True),
        Column("TARGET", lambda run: run.target or run.workflow_id or run.kind, drop_rank=1),
        Column("CREATED", lambda run: format_age(run.created_at, screen), drop_rank=3, keep_whole=True),
        Column("TOOK", _took, drop_rank=4, number=True),
        Column("ATTEMPT", lambda run: str(run.attempt or ""), drop_rank=6, number=True),
        Column("TITLE", lambda run: run.title or "", drop_rank=5),
        Column(
            "ERROR",
            lambda run: "" if run.status == "cancelled" else error_name(run.error),
            drop_rank=2,
            cells_min=12,
        ),
    ]


def error_name(error: "RunError | None") -> str:
    """The type of the exception, and the error's code: `KeyError`, `ApiError (RATE_LIMITED)`, `TIMEOUT`."""
    if error is None:
        return ""
    if error.type is None or error.code is None or error.type == error.code:
        return error.type or error.code or ""
    return f"{error.type} ({error.code})"


def _status(run: "Run") -> str:
    return "paused" if run.paused else "blocked" if run.blocked else run.status


def _status_and_share(run: "Run") -> str:
    """Such as `running 40%`."""
    progress = run.progress if run.status in {"pending", "running", "waiting"} else None
    share = "" if progress is None or progress.fraction is None else f" {progress.fraction:.0%}"
    return f"{_status(run)}{share}"


def format_progress(progress: "Progress", screen: Screen) -> str:
    """A line such as `[████████░░░░░░░░░░░░] 40% parsing`; without the bar in a pipe."""
    parts = []
    if progress.fraction is not None:
        full = int(progress.fraction * _BAR_CELLS)
        if screen.width is not None:
            parts.append(f"[{'█' * full}{'░' * (_BAR_CELLS - full)}]")
        parts.append(f"{progress.fraction:.0%}")
    return " ".join([*parts, *filter(None, (progress.message,))])


def _took(run: "Run") -> str:
    return "" if run.duration_ms is None else format_duration(run.duration_ms / 1000)


def attempt_columns() -> "list[Column[Attempt]]":
    return [
        Column("ATTEMPT", lambda one: str(one.attempt), number=True),
        Column("OUTCOME", lambda one: one.outcome, status=True),
        Column("STARTED", lambda one: format_time(one.started_at), drop_rank=1, keep_whole=True),
        Column("ENDED", lambda one: format_time(one.ended_at), drop_rank=2, keep_whole=True),
        Column("WORKER", lambda one: one.lease_owner or "", drop_rank=3),
        Column("ERROR", lambda one: _attempt_error(one.error), drop_rank=4),
    ]


def _attempt_error(error: Any) -> str:
    """The message with the type and the code. A traceback is shown with the run."""
    if not isinstance(error, dict) or not isinstance(error.get("message"), str):
        return value(error) or ""
    detail = error.get("detail")
    kind = detail.get("type") if isinstance(detail, dict) else None
    names = [one for one in dict.fromkeys((kind, error.get("code"))) if isinstance(one, str)]
    return str(error["message"]) + (f" ({', '.join(names)})" if names else "")


def value_columns(screen: Screen) -> "list[Column[RunValue]]":
    return [
        Column("VALUE", lambda one: one.name, keep_whole=True),
        Column("CONTENT", lambda one: value(one.value) or "null"),
        Column("SET", lambda one: format_age(one.updated_at, screen), drop_rank=1, keep_whole=True),
    ]


def placeholder(found: Any, run_id: str) -> str | None:
    """What is shown of a value that an artifact holds, or that is encoded. None: the value itself is shown."""
    from runstead.sdk.models.value import is_encoded, reference_of  # noqa: PLC0415

    if (place := reference_of(found)) is not None:
        return f"{format_size(place.size)}, stored as an artifact: runstead runs output {shlex.quote(run_id)}"
    return (
        "encoded: `runstead runs get` decodes it with RUNSTEAD_CODEC=module:codec"
        if is_encoded(found)
        else None
    )


def _situation(
    run: "Run", screen: Screen, wait_ends_at: "datetime | None"
) -> Iterator[tuple[str, str | None]]:
    """What keeps the run from going on."""
    if run.blocked:
        yield "blocked", run.blocked
        yield "next", BLOCKED_HELP.format(run=safe(shlex.quote(run.run_id)))
    elif run.unserved_since is not None:
        yield "unserved", f"no online worker serves {run.target} (since {_at(run.unserved_since, screen)})"
    elif run.status == "pending" and run.compensates is not None and run.available_at is None:
        yield "waits for", "the end of the compensation before it"
    elif run.status == "waiting" and not run.paused:
        yield "waits for", describe_wait(run, screen, wait_ends_at).removeprefix("waits for ")


def run_details(
    run: "Run", screen: Screen, wait_ends_at: "datetime | None" = None
) -> Iterator[tuple[str, str | None]]:
    yield "run", run.run_id
    yield "status", _status(run)
    yield from _situation(run, screen, wait_ends_at)
    if run.progress is not None:
        yield "progress", format_progress(run.progress, screen) or None
    for name in (
        "kind",
        "target",
        "title",
        "schedule_id",
        "batch_id",
        "parent_run_id",
        "compensates",
    ):
        yield name.replace("_", " "), getattr(run, name)
    if run.retry_of is not None:
        step = "" if run.retry_from is None else f" from step {run.retry_from.step_id}"
        yield "retry of", f"{run.retry_of}{step}"
    if run.compensations:
        yield "compensations", f"{run.compensations} registered, for a failure or a cancel"
    if run.root_run_id != run.run_id:
        yield "root run id", run.root_run_id
    yield "labels", ", ".join(f"{name}={one}" for name, one in (run.labels or {}).items()) or None
    if run.priority:
        yield "priority", str(run.priority)
    for name in ("concurrency_key", "unique_key", "debounce_key"):
        yield name.replace("_", " "), getattr(run, name)
    yield "debounced", f"{run.debounced} later request(s)" if run.debounced else None
    if run.worker_version is not None or run.pinned:
        version = run.worker_version or "that of its first attempt"
        yield "version", f"{version} (pinned)" if run.pinned else version
    yield "created", _at(run.created_at, screen)
    if run.status == "pending" and run.available_at is not None and run.available_at != run.created_at:
        yield "available", _at(run.available_at, screen)
    yield "started", _at(run.started_at, screen)
    yield "lease ends", _at(run.lease_expires_at, screen)
    yield "completed", _at(run.completed_at, screen)
    yield "took", _took(run) or None
    if run.descendants is not None and run.descendants.total:
        yield "descendants", f"{run.descendants.total} ({run.descendants.active} active)"
    if run.cancellation is not None:
        yield (
            "cancel requested",
            " ".join(filter(None, (format_time(run.cancellation.requested_at), run.cancellation.reason))),
        )
    if run.error is not None:
        name = error_name(run.error)
        yield "error", f"{run.error.message}{f' ({name})' if name else ''}"
        if run.error.traceback is None:
            yield "error detail", value(run.error.detail)
        else:
            yield "traceback", run.error.traceback.rstrip("\n")
    yield "exit code", None if run.exit_code is None else str(run.exit_code)
    for name in ("config", "input", "output", "metadata", "artifacts"):
        found = getattr(run, name)
        yield name, placeholder(found, run.run_id) or value(found)


def _at(at: Any, screen: Screen) -> str | None:
    if at is None:
        return None
    return format_time(at) if screen.width is None else f"{format_time(at)} ({format_age(at, screen)})"


def format_tree(family: "Sequence[Run]", marked: str, screen: Screen) -> str:
    """The family as a tree. The run `marked` gets a mark."""
    children: dict[str | None, list[Run]] = {}
    known = {run.run_id for run in family}
    for run in family:
        children.setdefault(run.parent_run_id if run.parent_run_id in known else None, []).append(run)
    lines: list[str] = []
    # Not recursive: a family may be deeper than Python's stack.
    todo = [(run, "", "", "") for run in reversed(children.get(None, []))]
    while todo:
        run, indent, joint, child_indent = todo.pop()
        mark = " *" if run.run_id == marked and len(family) > 1 else ""
        head = f"{indent}{joint}{safe(run.run_id)}  {safe(run.target or run.kind)}  "
        name = error_name(run.error)
        undoes = "  (compensation)" if run.compensates else ""
        tail = f"{mark}{undoes}{'  ' + name if name else ''}"
        status = _status(run)
        if screen.width is None:
            lines.append(f"{head}{status}{safe(tail)}")
        else:
            line = screen.line(f"{head}{status}{tail}")
            start, end = len(head), len(head) + len(status)
            if line[start:end] == status:  # not cut
                line = line[:start] + screen.paint(status, status) + line[end:]
            lines.append(line)
        for number, child in enumerate(reversed(children.get(run.run_id, []))):
            last = number == 0
            todo.append((child, indent + child_indent, "└─ " if last else "├─ ", "   " if last else "│  "))
    return "\n".join(lines)
