"""A list costs about the same however many runs there are: it reads blocks of the index, and few rows."""

import asyncio
import sqlite3
from contextlib import closing

import pytest
from msgspec.structs import replace

from runstead.engines.sqlite.migrate import migrate
from runstead.engines.sqlite.packing import searched_text
from runstead.engines.sqlite.run_index import found
from runstead.engines.sqlite.store import SqliteStore
from runstead.ports.store import RunQuery

MANY = 50_000
FILTERS = {
    "state, none": {"statuses": ("cancelled",), "kinds": ("task",)},
    "ended and open, none": {"statuses": ("completed", "waiting"), "targets": ("task:1",)},
    "unknown target": {"targets": ("none",)},
    "rare target": {"targets": ("task:0",)},
    "unknown kind": {"kinds": ("agent",)},
    "unknown label": {"labels": (("team", "none"),)},
    "labels that no run has both of": {"labels": (("team", "t1"), ("team", "t2"))},
    "nothing found": {"text": "inventory"},
    "nothing found, three characters": {"text": "zzz"},
    "nothing found, two characters": {"text": "zz"},
    "nothing found, one character": {"text": "%"},
    "one found": {"text": "number 4711."},
    "a text that all have, a label that none has": {"text": "n", "labels": (("team", "none"),)},
    "parent": {"parent_run_id": "none"},
    "schedule": {"schedule_id": "none"},
    "time": {"created_before": -1},
    "longest": {"sort": "duration"},
    "longest of a target": {"sort": "duration", "targets": ("task:1",)},
    "longest of no run": {"sort": "duration", "text": "zzz"},
    "several projects": {"project_ids": ("p", "q"), "text": "inventory"},
}


@pytest.fixture(scope="module")
def connection(tmp_path_factory):
    """Runs of one project, of which the first 49,152 are indexed."""
    path = tmp_path_factory.mktemp("lists") / "runs.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        migrate(connection)
        connection.execute("PRAGMA synchronous = OFF")
        connection.create_function("searched_text", 2, searched_text, deterministic=True)
        connection.execute(
            "INSERT INTO runs (uid, project_id, run_id, kind, status, owner_kind, owner_id, root_run_id, created_at,"
            " updated_at, path, descendants_total, descendants_active, push_failures, attempt, attempts_lost,"
            " latest_event_id, latest_external_event_sequence, version, target, title, labels, completed_at, duration_ms)"
            " WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ?)"
            " SELECT 'u', 'p', 'run-' || n, 'task', 'failed', 'project', 'p', 'r', n, n, '/', 0, 0, 0, 0, 0, 0, 0, 1,"
            " iif(n = 100, 'task:0', 'task:1'), 'number ' || n || '.', CAST('{\"team\":\"t' || (n % 3) || '\"}' AS BLOB),"
            " n, n * 7919 % 10007 FROM n",
            (MANY,),
        )
        asyncio.run(_index(path))
        yield connection


async def _index(path):
    store = SqliteStore(path, synchronous="OFF")
    await store.open()
    while await store.run_index.advance():
        pass
    await store.close()


@pytest.mark.parametrize("name", FILTERS)
def test_sqlite_takes_few_steps_for_a_list(connection, name):
    """To read all rows takes at least ten steps for each, half a million."""
    steps = 0

    def tick():
        nonlocal steps
        steps += 100

    query = RunQuery(**({"project_ids": ("p",), "limit": 51} | FILTERS[name]))
    connection.set_progress_handler(tick, 100)
    runs = found(connection, query)
    connection.set_progress_handler(None, 100)
    assert len(runs) == {"rare target": 1, "one found": 1, "longest": 51, "longest of a target": 51}.get(
        name, 0
    )
    assert steps < MANY, steps


@pytest.mark.parametrize("analysed", [False, True], ids=["unknown", "empty"])
def test_postgresql_finds_terms_and_the_newest_runs_by_their_keys(databases, analysed):
    """Statements are planned while the tables are empty, and the plan is kept."""
    from runstead.engines.postgres.connection import connect
    from runstead.engines.postgres.page import page_sql
    from runstead.engines.postgres.sql import Q

    name = databases.fresh()
    if analysed:
        databases.execute(name, "VACUUM ANALYZE")

    async def plans(*asked):
        """The plans that sessions keep, made without values."""
        session = await connect(databases.server.url(name))
        try:
            found = []
            for number, (sql, kinds) in enumerate(asked):
                await session.execute(f"PREPARE s{number} ({kinds}) AS {sql}")
                values = ", ".join("NULL" for _ in kinds.split(","))
                rows = await session.fetch(f"EXPLAIN EXECUTE s{number} ({values})")
                found.append("\n".join(row[0] for row in rows))
            return found
        finally:
            await session.close()

    tail = RunQuery(("p",), text="x", seq_over=9)
    longest = replace(tail, sort="duration")
    terms, span, facts, some, *newest, chosen, of_schedule = databases.call(
        plans(
            (Q["index_terms"], "integer[], bytea[]"),
            (Q["index_span"], "integer[], bytea, bytea"),
            (Q["index_facts"], "bigint, bigint"),
            (Q["index_facts_of"], "bigint[]"),
            (page_sql(tail)[0], "text, bigint, text, text, bigint"),
            (page_sql(longest)[0], "text, bigint, text, text, bigint, bigint"),
            (page_sql(RunQuery(("p",), statuses=("failed",)), seqs=[])[0], "bigint[], text, text, bigint"),
            (page_sql(RunQuery(("p",), schedule_id="s"), seqs=[])[0], "bigint[], text, text, bigint"),
        )
    )
    assert "Index Cond: ((block = b.block) AND (term = w.term))" in terms, terms
    assert "Index Cond: ((block = b.block) AND (term >= " in span, span
    assert "Index Cond: ((seq >= " in facts, facts
    for plan in (some, chosen, of_schedule):
        assert "Index Cond: (seq = ANY ($1))" in plan, plan
    for plan in newest:
        bounds = [line for line in plan.splitlines() if "Index Cond" in line]
        assert any(
            "(seq > $2)" in line or "(seq > $5)" in line or "((- seq) < (- $2))" in line for line in bounds
        ), plan
