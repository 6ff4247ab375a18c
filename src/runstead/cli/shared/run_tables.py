"""Runs as tables, as members and as trees."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from runstead.cli.shared.output import say, tell
from runstead.cli.shared.render import Column, Screen, age, document, safe, span, table, value, when

if TYPE_CHECKING:
    from runstead.sdk import Attempt, Run


def print_list(found: Sequence[Any], columns: Sequence[Column[Any]], what: str, *, json: bool) -> None:
    """A JSON array, a table, or a word on stderr that there is nothing."""
    if json:
        say(document(found))
    elif found:
        say(table(columns, found, Screen.of()))
    else:
        tell(f"no {what}")


def run_columns(screen: Screen) -> "list[Column[Run]]":
    return [
        Column("RUN", lambda run: run.run_id, whole=True),
        Column("STATUS", _status, status=True),
        Column("TARGET", lambda run: run.target or run.workflow_id or run.kind, leaves=1),
        Column("CREATED", lambda run: age(run.created_at, screen), leaves=2, whole=True),
        Column("TOOK", _took, leaves=3, number=True),
        Column("ATTEMPT", lambda run: str(run.attempt or ""), leaves=5, number=True),
        Column("TITLE", lambda run: run.title or "", leaves=4),
        Column("ERROR", lambda run: (run.error.code or "") if run.error else "", leaves=6),
    ]


def _status(run: "Run") -> str:
    return "paused" if run.paused else run.status


def _took(run: "Run") -> str:
    return "" if run.duration_ms is None else span(run.duration_ms / 1000)


def attempt_columns() -> "list[Column[Attempt]]":
    return [
        Column("ATTEMPT", lambda one: str(one.attempt), number=True),
        Column("OUTCOME", lambda one: one.outcome, status=True),
        Column("STARTED", lambda one: when(one.started_at), leaves=1, whole=True),
        Column("ENDED", lambda one: when(one.ended_at), leaves=2, whole=True),
        Column("WORKER", lambda one: one.lease_owner or "", leaves=3),
        Column("ERROR", lambda one: value(one.error) or "", leaves=4),
    ]


def run_members(run: "Run", screen: Screen) -> Iterator[tuple[str, str | None]]:
    yield "run", run.run_id
    yield "status", _status(run)
    if run.status == "waiting" and not run.paused:
        yield "waits for", " ".join(filter(None, (run.waiting_reason, run.waiting_tool_name)))
    for name in ("kind", "target", "title", "schedule_id", "batch_id", "parent_run_id", "retry_of"):
        yield name, getattr(run, name)
    if run.root_run_id != run.run_id:
        yield "root_run_id", run.root_run_id
    yield "labels", ", ".join(f"{name}={one}" for name, one in (run.labels or {}).items()) or None
    if run.priority:
        yield "priority", str(run.priority)
    yield "created", _at(run.created_at, screen)
    yield "started", _at(run.started_at, screen)
    yield "completed", _at(run.completed_at, screen)
    yield "took", _took(run) or None
    if run.descendants is not None and run.descendants.total:
        yield "runs below", f"{run.descendants.total} ({run.descendants.active} active)"
    if run.cancellation is not None:
        yield (
            "cancel asked",
            " ".join(filter(None, (when(run.cancellation.requested_at), run.cancellation.reason))),
        )
    if run.error is not None:
        yield "error", f"{run.error.message}{f' ({run.error.code})' if run.error.code else ''}"
        yield "error detail", value(run.error.detail)
    yield "exit code", None if run.exit_code is None else str(run.exit_code)
    for name in ("config", "input", "output", "metadata", "artifacts"):
        yield name, value(getattr(run, name))


def _at(at: Any, screen: Screen) -> str | None:
    if at is None:
        return None
    return when(at) if screen.width is None else f"{when(at)} ({age(at, screen)})"


def branches(family: "Sequence[Run]", marked: str, screen: Screen) -> str:
    """Each run under its parent; the one that was asked for is marked."""
    below: dict[str | None, list[Run]] = {}
    known = {run.run_id for run in family}
    for run in family:
        below.setdefault(run.parent_run_id if run.parent_run_id in known else None, []).append(run)
    lines: list[str] = []
    # A family may be deeper than Python's own stack.
    todo = [(run, "", "", "") for run in reversed(below.get(None, []))]
    while todo:
        run, before, joint, after = todo.pop()
        mark = " *" if run.run_id == marked and len(family) > 1 else ""
        told = f"{before}{joint}{safe(run.run_id)}  {safe(run.target or run.kind)}  "
        tail = f"{mark}{'  ' + run.error.code if run.error and run.error.code else ''}"
        status = _status(run)
        if screen.width is None:
            lines.append(f"{told}{status}{safe(tail)}")
        else:
            line = screen.line(f"{told}{status}{tail}")
            at = len(told)
            whole = line[at : at + len(status)] == status
            painted = screen.paint(status, status)
            lines.append(line[:at] + painted + line[at + len(status) :] if whole else line)
        children = below.get(run.run_id, [])
        for number, child in enumerate(reversed(children)):
            last = number == 0
            todo.append((child, before + after, "└─ " if last else "├─ ", "   " if last else "│  "))
    return "\n".join(lines)
