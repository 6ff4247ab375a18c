"""Measures usage reports and charts over years of runs: fills an empty store, sums up the runs as a server does after an
upgrade, and then requests reports.

    python bench/reports.py sqlite:///tmp/years.db --runs 10000000 --years 3
    python bench/reports.py postgresql://… --runs 1000000

One run is written through the store. The others are copies of its row with other times, names and metadata: 20 targets,
5 models, 10 schedules, 50 keys, and each run is its own family. With --keep the store is not filled again.
"""

import argparse
import asyncio
import sqlite3
import statistics
import time
from collections.abc import Awaitable, Callable
from contextlib import closing

import asyncpg

from runstead.commands import charts, usage_report
from runstead.commands.app import App
from runstead.commands.keys import new_project
from runstead.core.clock import now_ms
from runstead.core.identity.principal import ALL_SCOPES, Principal
from runstead.core.runs.run import FIELDS, Run, RunStatus
from runstead.core.runs.transition import Transition
from runstead.core.runs.transitions import NO_FENCE, Completion, complete, create
from runstead.core.usage.rollup import DAY, QUARTER
from runstead.engines.notifiers.local import LocalNotifier
from runstead.ports.store import RunKey, RunQuery, Store
from runstead.server.engines import make_store
from runstead.server.settings import Settings

MODELS, TARGETS, SCHEDULES, KEYS = 5, 20, 10, 50
PER_STATEMENT = 100_000
REPEATS = 15
EMPTIED = ("rollup_entries", "usage_rollups", "activity_rollups", "rollup_open", "rollup_backlog")


async def template(store: Store) -> Run:
    project = new_project("years", None)
    await store.identity.create_project(project, None, None)
    new = Run("uid", project.id, "run", "task", RunStatus.PENDING, "project", project.id, "run", 0, 0)

    def begin(loaded: object) -> Transition:
        return create(new, now=loaded.now, parent=None, family_cancelled=False, message=None)  # type: ignore[attr-defined]

    key = RunKey(project.id, "run")
    await store.runs.apply(key, begin)
    completion = Completion(status="completed", metadata=b"{}")
    written = await store.runs.apply(
        key,
        lambda loaded: complete(loaded.run, now=loaded.now, completion=completion, fence=NO_FENCE),  # type: ignore[arg-type]
    )
    return written.run


def copies(*, postgres: bool, step_ms: float) -> str:
    """Return SQL that copies run 1 for the numbers $1 to $2. The first is the oldest; $3 is the time of the last."""
    text = "text" if postgres else "TEXT"
    metadata = (
        f'\'{{"provider":"acme","model":"m-\' || (n % {MODELS}) || \'","inputTokens":\' || (n % 1000) ||'
        " ',\"outputTokens\":' || (n % 100) || '}'"
    )
    created = f"$3 - CAST(($4 - n) * {step_ms} AS bigint)"
    own = {
        "seq": "n",
        "uid": f"CAST(n AS {text})",
        "run_id": "'run_' || n",
        "root_run_id": "'run_' || n",
        "root_seq": "n" if postgres else "NULL",
        "target": f"'task:' || (n % {TARGETS})",
        "schedule_id": f"CASE WHEN n % 3 = 0 THEN 's-' || (n % {SCHEDULES}) END",
        "created_by": f"'key-' || (n % {KEYS})",
        "status": "CASE WHEN n % 50 = 0 THEN 'failed' ELSE 'completed' END",
        "duration_ms": "100 + n % 9973",
        "metadata": f"convert_to({metadata}, 'UTF8')" if postgres else f"CAST({metadata} AS BLOB)",
        "created_at": created,
        "updated_at": created,
        "completed_at": f"{created} + 100",
    }
    fields = [one for one in FIELDS if not (postgres and one.startswith("descendants_"))]
    numbers = (
        "generate_series($1::bigint, $2::bigint) AS g (n)"
        if postgres
        else "(WITH RECURSIVE c (n) AS (SELECT $1 UNION ALL SELECT n + 1 FROM c WHERE n < $2) SELECT n FROM c) AS g"
    )
    values = ", ".join(own.get(one, f"t.{one}") for one in fields)
    names = ", ".join(fields)
    return f"INSERT INTO runs ({names}) SELECT {values} FROM {numbers} JOIN runs AS t ON t.seq = 1"  # noqa: S608


async def fill(url: str, runs: int, years: float) -> None:
    step = years * 365 * DAY / runs
    postgres = url.startswith("postgres")
    sql, now = copies(postgres=postgres, step_ms=step), now_ms()
    deletions = [f"DELETE FROM {table}" for table in EMPTIED]  # noqa: S608 - the names are constants
    if postgres:
        connection = await asyncpg.connect(url)
        await connection.execute("SET synchronous_commit = off")
        for first in range(2, runs + 2, PER_STATEMENT):
            last = min(first + PER_STATEMENT, runs + 2) - 1
            typed = sql.replace("$3", "$3::bigint").replace("$4", "$4::bigint")
            await connection.execute(typed, first, last, now, runs + 1)
        for one in deletions:
            await connection.execute(one)
        await connection.execute("INSERT INTO rollup_backlog VALUES ($1)", runs + 2)
        await connection.execute("SELECT setval('run_seq', $1)", runs + 2)
        await connection.execute("VACUUM ANALYZE runs")
        await connection.close()
        return
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)) as file:
        file.execute("PRAGMA synchronous = OFF")
        for first in range(2, runs + 2, PER_STATEMENT):
            last = min(first + PER_STATEMENT, runs + 2) - 1
            for place in (1, 2, 3, 4):
                sql = sql.replace(f"${place}", f"?{place}")
            file.execute(sql, (first, last, now, runs + 1))
        for one in deletions:
            file.execute(one)
        file.execute("INSERT INTO rollup_backlog VALUES (?)", (runs + 2,))


async def timed(name: str, ask: Callable[[], Awaitable[object]]) -> None:
    took = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        await ask()
        took.append((time.perf_counter() - began) * 1_000)
        if sum(took) > 20_000:
            break
    print(f"{name:42} {statistics.median(took):9.1f} ms   at most {max(took):.1f}", flush=True)


async def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("url")
    parser.add_argument("--runs", type=int, default=1_000_000)
    parser.add_argument("--years", type=float, default=3)
    parser.add_argument("--slice", type=int, default=250)
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    store = make_store(Settings(database_url=options.url))
    await store.open()
    if not options.keep:
        await template(store)
        await fill(options.url, options.runs, options.years)
    began, looked = time.perf_counter(), 0
    while found := await store.rollups.catch_up(options.slice):
        looked += found
    seconds = time.perf_counter() - began
    if looked:
        print(f"{looked:,} runs added up in {seconds:.0f} s: {looked / seconds:,.0f} a second", flush=True)
    (project,) = await store.identity.projects(None)
    app, principal = App(store, LocalNotifier()), Principal("api_key", "k", {project.id: ALL_SCOPES})
    until = (now_ms() // QUARTER + 1) * QUARTER
    years = [
        ("30 days", until - 30 * DAY),
        ("a year", until - 365 * DAY),
        ("all", until - int(options.years * 365 * DAY)),
    ]
    for name, since in years:
        for by in ("model", "target", "key", "day", "family"):
            if by == "family" and name != "30 days":
                continue
            await timed(
                f"usage by {by}, {name}",
                lambda since=since, by=by: usage_report.report(app, principal, project.id, since, until, by),
            )
        await timed(
            f"the dashboard's page of usage, {name}",
            lambda since=since: usage_report.reports(
                app, principal, project.id, since, until, ("model", "day")
            ),
        )
        for filters in (RunQuery(()), RunQuery((), targets=("task:1",))):
            await timed(
                f"chart{' of a target' if filters.targets else ''}, {name}",
                lambda since=since, filters=filters: charts.activity(
                    app, principal, project.id, filters, since, until, 60
                ),
            )
    await timed(
        "usage by family, all",
        lambda: usage_report.report(app, principal, project.id, years[-1][1], until, "family"),
    )
    await timed(
        "usage by model, 30 days to this moment",
        lambda: usage_report.report(app, principal, project.id, now_ms() - 30 * DAY, now_ms(), "model"),
    )
    await store.close()


if __name__ == "__main__":
    asyncio.run(main())
