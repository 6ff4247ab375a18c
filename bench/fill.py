"""Fill a SQLite store with ended runs of ten events each, to measure what size costs.

    python bench/fill.py runstead.db --runs 1000000
    python bench/fill.py runstead.db --runs 1000000 --pending --keys 1000   # in the queue, with concurrency keys

The rows are those of a server, written in large transactions because writing is not measured here. With `--index` the
index of runs is built too, as the server's loop builds it.
"""

import argparse
import asyncio
import sqlite3
import time
import uuid
from pathlib import Path

from msgspec.structs import replace

from runstead.commands.projects import new_project
from runstead.core.runs import transitions
from runstead.core.runs.event import Event, NewEvent
from runstead.core.runs.flow import Flow, keyed
from runstead.core.runs.run import Run, RunStatus
from runstead.core.runs.transitions import NO_FENCE, Completion
from runstead.engines.sqlite.connection import connect
from runstead.engines.sqlite.rows import add_events, insert_run
from runstead.engines.sqlite.store import SqliteStore

PAYLOAD = b'{"type":"TEXT_MESSAGE_CONTENT","messageId":"m1","delta":"' + b"x" * 140 + b'"}'
EVENTS = tuple(NewEvent("TEXT_MESSAGE_CONTENT", PAYLOAD, "worker") for _ in range(10))
USAGE = b'{"provider":"bench","model":"none","inputTokens":10,"outputTokens":20}'
PER_TRANSACTION = 10_000
TEAMS = ("red", "green", "blue")


def new_run(project_id: str, now: int, **members: object) -> Run:
    """Build a pending task run of a project."""
    run_id = f"run_{uuid.uuid4()}"
    return Run(
        uid=str(uuid.uuid4()),
        project_id=project_id,
        run_id=run_id,
        kind="task",
        status=RunStatus.PENDING,
        owner_kind="project",
        owner_id=project_id,
        root_run_id=run_id,
        created_at=now,
        updated_at=now,
        **members,  # type: ignore[arg-type]
    )


def add(
    connection: sqlite3.Connection, project_id: str, now: int, number: int = 0, count: int = len(EVENTS)
) -> None:
    """Insert an ended run with its log. The number determines its name and its outcome."""
    new = new_run(
        project_id,
        now,
        target=f"task:bench-{number % 20}",
        title=f"Nightly report {number}",
        labels=b'{"team":"%s","order":"%d"}' % (TEAMS[number % 3].encode(), number),
    )
    run = transitions.create(new, now=now, parent=None, family_cancelled=False, message=None).run
    run = transitions.claim(run, now=now, worker=project_id, lease_ms=60_000, token=uuid.uuid4().hex).run
    run = replace(run, latest_event_id=count, latest_external_event_sequence=count)
    end_at = now + 20 + number * 7_919 % 60_000  # a prime, so that all durations occur
    status = "failed" if number % 50 == 0 else "completed"
    end = transitions.complete(
        run, now=end_at, completion=Completion(status=status, metadata=USAGE), fence=NO_FENCE
    )
    stored = replace(end.run, seq=insert_run(connection, end.run))
    log = [
        Event(
            event_id=number,
            type=each.type,
            payload=each.payload,
            created_at=end_at,
            source=each.source,
            private=False,
            is_error=False,
            sequence=min(number, count),
        )
        for number, each in enumerate((*EVENTS[:count], *end.events), 1)
    ]
    add_events(connection, stored.seq, log)


def add_pending(connection: sqlite3.Connection, project_id: str, now: int, number: int, keys: int) -> None:
    """Insert a run that waits for a claim, as `fill_postgres.py` does."""
    new = new_run(project_id, now, target="task:bench")
    if keys:
        new = keyed(new, Flow(concurrency_key="blocked" if keys == 1 else f"key-{number % keys:07}"))
    created = transitions.create(new, now=now, parent=None, family_cancelled=False, message=None)
    insert_run(connection, created.run)


async def index(path: Path) -> None:
    store = SqliteStore(path)
    await store.open()
    while await store.run_index.advance():
        pass
    await store.close()


async def prepare(path: Path) -> str:
    """Return the id of the runs' project: the store's first project, or a new one."""
    store = SqliteStore(path)
    await store.open()
    found = await store.identity.projects(None)
    project = found[0] if found else new_project("default", None)
    await store.identity.ensure_project(project, None, None)
    await store.close()
    return project.id


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("path", type=Path)
    parser.add_argument("--runs", type=int, default=1_000_000)
    parser.add_argument("--events", type=int, default=10, help="without the terminal event, at most 10")
    parser.add_argument("--pending", action="store_true", help="create pending runs")
    parser.add_argument("--keys", type=int, default=0, help="with --pending; a single one is `blocked`")
    parser.add_argument("--index", action="store_true")
    options = parser.parse_args()
    project_id = asyncio.run(prepare(options.path))
    connection = connect(options.path, "OFF")
    for first in range(0, options.runs, PER_TRANSACTION):
        connection.execute("BEGIN")
        for number in range(first, min(first + PER_TRANSACTION, options.runs)):
            now = 1_700_000_000_000 + number * 10
            if options.pending:
                add_pending(connection, project_id, now, number, options.keys)
            else:
                add(connection, project_id, now, number, options.events)
        connection.execute("COMMIT")
        print(f"\r{min(first + PER_TRANSACTION, options.runs):,} runs", end="", flush=True)
    print()
    if options.keys:
        connection.execute("INSERT OR IGNORE INTO keyed_targets VALUES (?, 'task:bench', '')", (project_id,))
    connection.close()
    if options.index:
        began = time.monotonic()
        asyncio.run(index(options.path))
        print(f"indexed in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
