"""Fill a PostgreSQL store with runs, to measure what size costs.

    python bench/fill_postgres.py postgresql://… --runs 10000000
    python bench/fill_postgres.py postgresql://… --runs 1000000 --pending
    python bench/fill_postgres.py postgresql://… --runs 1000000 --pending --keys 1000   # with concurrency keys

One run is created and completed through the store. Its rows are then copied inside the database, with other numbers,
names and times, 250 ms apart, up to now. The indexes of `runs` are dropped meanwhile and rebuilt, because filling is not
measured here. No server may use the database at that time.
"""

import argparse
import asyncio
import re
import time
import uuid
from typing import Final

import asyncpg

from runstead.commands.projects import new_project
from runstead.core.runs import transitions
from runstead.core.runs.append import append
from runstead.core.runs.event import NewEvent
from runstead.core.runs.flow import Flow, keyed
from runstead.core.runs.run import Run, RunStatus
from runstead.core.runs.transitions import NO_FENCE, Completion
from runstead.engines.postgres.partitions import make_partitions
from runstead.engines.postgres.store import PostgresStore
from runstead.ports.store import ClaimRequest, RunKey

PAYLOAD: Final = b'{"type":"TEXT_MESSAGE_CONTENT","messageId":"m1","delta":"' + b"x" * 140 + b'"}'
USAGE: Final = b'{"provider":"bench","model":"none","inputTokens":10,"outputTokens":20}'
STEP_MS: Final = 250
PER_TRANSACTION: Final = 50_000
SESSIONS: Final = 2
TIMES: Final = (
    "created_at",
    "updated_at",
    "started_at",
    "completed_at",
    "attempt_started_at",
    "last_heartbeat_at",
    "available_at",
)
#: The columns in which a copy differs: `n` is its number, `age` how much older than the template it is, in ms.
OWN: Final = {
    "uid": "md5('uid' || n)::uuid::text",
    "run_id": "'run_' || md5(n::text)::uuid",
    "root_run_id": "'run_' || md5(n::text)::uuid",
    "seq": "n",
    "root_seq": "n",
    "run_seq": "n",
    "run_created_at": "t.run_created_at - age",
    "title": "'Nightly report ' || n",
    "labels": """convert_to(format('{"team":"%s","order":"%s"}', (ARRAY['red', 'green', 'blue'])[1 + n % 3], n), 'UTF8')""",
} | {column: f"t.{column} - age" for column in TIMES}


async def one_life(url: str, events: int, *, pending: bool, keys: int) -> Run:
    """Return a run that was written by the store: ended, or pending."""
    store = PostgresStore(url)
    await store.open()
    try:
        projects = await store.identity.projects(None)
        project = (
            projects[0]
            if projects
            else await store.identity.ensure_project(new_project("default", None), None, None)
        )
        key = RunKey(project.id, f"run_{uuid.uuid4()}")
        target = "task:bench" if pending else f"task:{key.run_id}"
        new = Run(
            uid=str(uuid.uuid4()),
            project_id=project.id,
            run_id=key.run_id,
            kind="task",
            status=RunStatus.PENDING,
            owner_kind="project",
            owner_id=project.id,
            root_run_id=key.run_id,
            created_at=0,
            updated_at=0,
            target=target,
        )
        if keys:
            new = keyed(new, Flow(concurrency_key="blocked"))
        written = await store.runs.apply(
            key,
            lambda at: transitions.create(new, now=at.now, parent=None, family_cancelled=False, message=None),
        )
        if pending:
            return written.run
        await store.runs.claim(
            ClaimRequest(project.id, ("task",), (target,)),
            lambda run, now: transitions.claim(
                run,
                now=now,
                worker=project.id,
                lease_ms=60_000,
                token="bench",  # noqa: S106 - guards nothing
            ),
        )
        appended = [NewEvent("TEXT_MESSAGE_CONTENT", PAYLOAD, source="caller") for _ in range(events)]
        position = {"expected_previous_event_id": None, "expected_sequence": None, "tail": ()}
        if appended:
            await store.runs.apply(
                key, lambda at: append(at.run, now=at.now, events=appended, fence=NO_FENCE, **position)
            )
        end = Completion(status="completed", metadata=USAGE)
        written = await store.runs.apply(
            key, lambda at: transitions.complete(at.run, now=at.now, completion=end, fence=NO_FENCE)
        )
        return written.run
    finally:
        await store.close()


#: Columns of an ended run. (A pending run keeps the target that claims select.)
ENDED: Final = {"target": "'task:bench-' || n % 20", "duration_ms": "20 + n * 7919 % 60000"}


async def copy_sql(session: asyncpg.Connection, table: str, own: dict[str, str]) -> str:
    """Return SQL that copies the template's rows of a table for the numbers $2 to $3.

    $1 is the template's seq, $4 the last number.
    """
    columns = [
        row[0]
        for row in await session.fetch(
            "SELECT attname FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped"
            " ORDER BY attnum",
            table,
        )
    ]
    values = ", ".join(own.get(column, f"t.{column}") for column in columns)
    key = "seq" if table == "runs" else "run_seq"
    return (  # the names are constants
        f"INSERT INTO {table} ({', '.join(columns)}) SELECT {values}"  # noqa: S608
        f" FROM generate_series($2::bigint, $3::bigint) AS n, LATERAL (SELECT ($4 - n) * {STEP_MS} AS age) AS ages,"
        f" (SELECT * FROM {table} WHERE {key} = $1) AS t"
    )


async def copy_all(url: str, template: Run, runs: int, keys: int) -> None:
    """Write the copies of the template, in many transactions and several sessions."""
    admin = await asyncpg.connect(url)
    first = 1 + await admin.fetchval("SELECT max(seq) FROM runs")
    last = first + runs - 1
    month = template.created_at - (last - first) * STEP_MS
    while month < template.created_at + 31 * 86_400_000:
        await make_partitions(admin, month)
        month += 28 * 86_400_000
    own = OWN | (ENDED if template.terminal else {})
    if keys > 1:
        own["concurrency_key"] = f"'key-' || lpad((n % {keys})::text, 7, '0')"
    statements = [await copy_sql(admin, table, own) for table in ("runs", "run_events")]
    indexes = await admin.fetch(
        "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'runs' AND indexname != 'runs_pkey'"
    )
    for index in indexes:
        await admin.execute(f"DROP INDEX {index['indexname']}")
    chunks = iter(range(first, last + 1, PER_TRANSACTION))
    began = time.monotonic()

    async def work() -> None:
        session = await asyncpg.connect(url)
        await session.execute("SET synchronous_commit = off")
        for start in chunks:
            end = min(start + PER_TRANSACTION, last + 1) - 1
            async with session.transaction():
                for statement in statements:
                    await session.execute(statement, template.seq, start, end, last)
            print(f"\r{end - first + 1:,} runs, {time.monotonic() - began:.0f} s", end="", flush=True)
        await session.close()

    await asyncio.gather(*(work() for _ in range(SESSIONS)))
    await admin.execute("SET maintenance_work_mem = '1GB'")
    for index in indexes:
        print(f"\n{re.sub(r' USING.*', '', index['indexdef'])}", end="", flush=True)
        await admin.execute(index["indexdef"])
    await admin.execute("SELECT setval('run_seq', $1::bigint)", last)
    print("\nvacuum, analyze")
    await admin.execute("VACUUM (FREEZE, ANALYZE)")
    await admin.execute("CHECKPOINT")
    print(f"{runs:,} runs in {time.monotonic() - began:.0f} s")
    await admin.close()


async def index(url: str) -> None:
    store = PostgresStore(url)
    await store.open()
    while await store.run_index.advance():
        pass
    await store.close()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("url")
    parser.add_argument("--runs", type=int, default=1_000_000)
    parser.add_argument("--events", type=int, default=2, help="without the terminal event")
    parser.add_argument("--pending", action="store_true", help="create pending runs")
    parser.add_argument("--keys", type=int, default=0, help="with --pending; a single one is `blocked`")
    parser.add_argument("--index", action="store_true", help="build the index of runs too")
    options = parser.parse_args()
    template = asyncio.run(one_life(options.url, options.events, pending=options.pending, keys=options.keys))
    asyncio.run(copy_all(options.url, template, options.runs, options.keys))
    if options.index:
        began = time.monotonic()
        asyncio.run(index(options.url))
        print(f"indexed in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
