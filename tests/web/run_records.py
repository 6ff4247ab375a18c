"""Builds event and run records without a store."""

import msgspec

from runstead.core.runs.event import Event
from runstead.core.runs.run import Run, RunStatus

NOON = 1_774_008_000_000


def event(number, kind, *, at=None, **members):
    """The event with this number, stored `at` ms after noon; by default `number` seconds after noon."""
    payload = msgspec.json.encode({"type": kind, **members})
    created_at = NOON + (number * 1_000 if at is None else at)
    source = "server" if members.get("name") == "run.resumed" else "worker"
    return Event(number, kind, payload, created_at, source, False, False, number)


def custom(number, name, value, **more):
    return event(number, "CUSTOM", name=name, value=value, **more)


def run(status="running", **members):
    """A task run, created and started at noon by its first attempt."""
    defaults = {
        "uid": "u",
        "project_id": "p",
        "run_id": "run-1",
        "kind": "task",
        "status": RunStatus(status),
        "owner_kind": "project",
        "owner_id": "p",
        "root_run_id": "run-1",
        "created_at": NOON,
        "updated_at": NOON,
        "seq": 1,
        "target": "task:report",
        "started_at": NOON,
        "attempt": 1,
        "attempt_started_at": NOON,
    }
    return Run(**(defaults | members))
