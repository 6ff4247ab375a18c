"""Looks into a store's file: is every run whole? Read-only, also beside a server that has it open."""

import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

EVENT_BITS = 24
TERMINAL = {"completed": "RUN_FINISHED", "failed": "RUN_ERROR", "cancelled": "RUN_ERROR"}


def _rows(path: Path, sql: str) -> list[dict]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as store:
        store.row_factory = sqlite3.Row
        return [dict(row) for row in store.execute(sql)]


def intact(path: Path) -> bool:
    return _rows(path, "PRAGMA integrity_check") == [{"integrity_check": "ok"}]


def stored_events(path: Path) -> dict[int, list[dict]]:
    """Every run's events by the run's seq, in order, with their `event_id`."""
    found: dict[int, list[dict]] = {}
    mask = (1 << EVENT_BITS) - 1
    for row in _rows(path, "SELECT * FROM run_events ORDER BY id"):
        found.setdefault(row["id"] >> EVENT_BITS, []).append(row | {"event_id": row["id"] & mask})
    return found


def check_whole(path: Path) -> dict[str, dict]:
    """Every run by its id, with its `events`; fails where one is half-written."""
    events = stored_events(path)
    runs = {
        row["seq"]: row | {"events": events.pop(row["seq"], [])} for row in _rows(path, "SELECT * FROM runs")
    }
    assert events == {}, "events without a run"
    total, active = Counter(), Counter()
    for run in runs.values():
        _check_run(run)
        for ancestor in run["path"].strip("/").split("/"):
            if ancestor:
                total[int(ancestor)] += 1
                active[int(ancestor)] += run["status"] not in TERMINAL
    for seq, run in runs.items():
        assert (run["descendants_total"], run["descendants_active"]) == (total[seq], active[seq]), run[
            "run_id"
        ]
    return {run["run_id"]: run for run in runs.values()}


def _check_run(run: dict) -> None:
    name, events = run["run_id"], run["events"]
    assert [event["event_id"] for event in events] == list(range(1, run["latest_event_id"] + 1)), name
    external = sum(event["flags"] & 3 == 1 for event in events)  # external, and not private
    assert external == run["latest_external_event_sequence"], name
    ends = [event["type"] for event in events if event["type"] in {"RUN_FINISHED", "RUN_ERROR"}]
    ended = TERMINAL.get(run["status"])
    assert ends == ([] if ended is None else [ended]), name
    assert ended is None or events[-1]["type"] == ended, name
    assert (run["completed_at"] is not None) == (ended is not None), name
    assert (run["error"] is not None) == (run["status"] in {"failed", "cancelled"}), name
    assert (run["attempt"] > 0) >= (run["lease_token"] is not None), name
