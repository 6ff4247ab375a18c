"""A claim costs the same, however many runs are queued: it reads the heads of its lines and nothing else."""

import re
import sqlite3
from contextlib import closing

import pytest
from msgspec.structs import replace

from runstead.core.queue.concurrency import ConcurrencySlots
from runstead.engines.sql.queue_partitions import partitions
from runstead.engines.sql.steps import bind
from runstead.engines.sqlite.migrate import migrate
from runstead.engines.sqlite.queue import HEADS
from runstead.engines.sqlite.sql import DIALECT, Q as SQLITE
from runstead.ports.store import ClaimRequest, RunQuery

MANY = 4_000
CLAIMS = {
    "kind": ClaimRequest("p", ("task",)),
    "kinds": ClaimRequest("p", ("task", "eval", "workflow")),
    "targets": ClaimRequest("p", ("task",), ("task:0", "task:1", "task:9")),
    "agent": ClaimRequest("p", ("agent",), (), "py", "w"),
    "agent target": ClaimRequest("p", ("agent",), ("agent:1",), "py", "w"),
}
CLAIMS |= {f"{name} of a version": replace(claim, version="v1") for name, claim in CLAIMS.items()}
PINNED = 253_402_300_799_000  # `available_at` of runs that are pinned to a version
# Of tasks and agent runs, as many are due as there are delayed ones of a higher priority; the same for pushes.
GROUPS = [
    (kind, priority, at, implementation, service, None)
    for kind, implementation, service in (("task", None, None), ("agent", "py", None), ("agent", None, "s"))
    for priority, at in ((0, 0), (50, 1_000_000))
]
# As many are pinned to each of two versions.
GROUPS += [
    (kind, 0, 0, implementation, None, version)
    for kind, implementation in (("task", None), ("agent", "py"))
    for version in ("v1", "v2")
]
NOW = 500_000


@pytest.fixture(scope="module")
def sqlite():
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        migrate(connection)
        for kind, priority, at, implementation, service, version in GROUPS:
            connection.execute(
                "INSERT INTO runs (uid, project_id, run_id, kind, status, owner_kind, owner_id, root_run_id, created_at,"
                " updated_at, path, descendants_total, descendants_active, push_failures, attempt, attempts_lost,"
                " latest_event_id, latest_external_event_sequence, version, target, priority, available_at, due_at,"
                " implementation_kind, push_service_id, worker_version, pinned, pinned_available_at) WITH RECURSIVE n (n) AS"
                " (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ?1)"
                " SELECT 'u', 'p', ?2 || ?3 || coalesce(?6, ?7, '') || n, ?2, 'pending', 'project', 'p', 'r', 0, 0, '/',"
                " 0, 0, 0, 0, 0, 0, 0, 1, ?2 || ':' || n % 2, ?3, iif(?7 IS NULL, ?4 + n, ?8),"
                " ?4 + n, ?5, ?6, ?7, iif(?7 IS NULL, NULL, 1), iif(?7 IS NULL, NULL, ?4 + n) FROM n",
                (MANY, kind, priority, at, implementation, service, version, PINNED),
            )
        yield connection


def steps_of(connection, sql, arguments):
    """How many steps SQLite's machine takes, in tens."""
    count = 0

    def tick():
        nonlocal count
        count += 1

    connection.set_progress_handler(tick, 10)
    connection.execute(sql, arguments).fetchall()
    connection.set_progress_handler(None, 10)
    return count


@pytest.mark.parametrize("what", CLAIMS)
def test_sqlite_reads_only_the_head_of_a_partition(sqlite, what):
    for line in partitions(CLAIMS[what], 1, ConcurrencySlots({}), CLAIMS[what].targets):
        arguments = ("p", *line.equal, NOW, line.most)
        plan = "\n".join(
            row[3] for row in sqlite.execute("EXPLAIN QUERY PLAN " + HEADS[line.kind, line.pinned], arguments)
        )
        assert "TEMP B-TREE" not in plan
        assert "SCAN runs" not in plan
        assert steps_of(sqlite, HEADS[line.kind, line.pinned], arguments) < 100, plan


def bound(own, dialect, name, arguments):
    """(the text of an engine's own statement or of a shared one, its arguments in order)"""
    if name not in dialect.named:
        return own[name], arguments
    statement = dialect.named[name]
    return statement.text, bind(statement, arguments)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("push_steps", (NOW, "[]")),
        ("queued_targets", ("p",)),
        ("due_projects", (NOW,)),
        ("due_head", ("p", NOW, 10)),
        ("occupancies", {"now": NOW, "project_ids": '["p"]', "most": 10, "uncounted": 1 << 31}),
        ("queue_ages", {"now": NOW, "queues_max": 200}),
        ("held", {"project_id": "p", "owners": '["w"]', "looked_max": 10}),
    ],
)
def test_sqlite_steps_from_what_there_is_to_the_next(sqlite, name, arguments):
    assert steps_of(sqlite, *bound(SQLITE, DIALECT, name, arguments)) < 200


@pytest.fixture(scope="module", params=["never", "while the queue was empty", "now"])
def postgres(databases, request):
    """explain(name or claim, *arguments): the plan of a prepared statement, and how many pages it touched.

    The param is the time of the last ANALYZE.
    """
    from runstead.engines.postgres.connection import connect

    name = databases.fresh()  # so that data of other tests affects no plan
    databases.execute(name, "ALTER TABLE runs SET (autovacuum_enabled = off)")

    def add(many, kind, target, priority, at, of=None, service=None, version=None):
        available = f"{at} + seq" if version is None else PINNED
        pinned = "NULL, NULL" if version is None else f"true, {at} + seq"
        databases.execute(
            name,
            "INSERT INTO runs (uid, project_id, run_id, kind, status, owner_kind, owner_id, root_run_id, created_at,"
            " updated_at, seq, root_seq, path, push_failures, attempt, attempts_lost, latest_event_id,"
            " latest_external_event_sequence, version, target, priority, available_at, due_at, implementation_kind,"
            f" push_service_id, worker_version, pinned, pinned_available_at) SELECT 'u', 'p', 'r' || seq, '{kind}', 'pending', 'project', 'p', 'r', 0, 0, seq, seq,"
            f" '/', 0, 0, 0, 0, 0, 1, {target}, {priority}, {available}, {at} + seq, {quoted(of)},"
            f" {quoted(service)}, {quoted(version)}, {pinned} FROM (SELECT nextval('run_seq') AS seq FROM generate_series(1, {many})) AS made",
        )

    if request.param == "while the queue was empty":
        add(MANY, "task", "NULL", 0, "NULL")
        databases.execute(name, "VACUUM ANALYZE runs")
    for kind, priority, at, of, service, version in GROUPS:
        add(MANY, kind, f"'{kind}:' || seq % 2", priority, at, of, service, version)
    if request.param == "now":
        databases.execute(name, "VACUUM ANALYZE runs")

    def explain(sql, arguments, mode, without=None):
        """`without`: as if this index were not there."""

        async def look():
            connection = await connect(databases.server.url(name))
            try:
                await connection.execute(f"SET plan_cache_mode = {mode}")
                prepared = await connection.prepare(sql)
                types = [
                    kind.name.removesuffix("[]") + "[]" * (kind.kind == "array")
                    for kind in prepared.get_parameters()
                ]
                given = ", ".join(
                    f"{literal(value)}::{kind}" for kind, value in zip(types, arguments, strict=True)
                )
                await connection.execute(f"PREPARE claim AS {sql}")
                transaction = connection.transaction()
                await transaction.start()
                if without is not None:
                    await connection.execute(f"DROP INDEX {without}")
                rows = await connection.fetch(
                    f"EXPLAIN (ANALYZE, BUFFERS, COSTS OFF, TIMING OFF) EXECUTE claim({given})"
                )
                await transaction.rollback()
            finally:
                await connection.close()
            return "\n".join(row[0] for row in rows)

        plan = databases.call(look())
        return plan, int(re.search(r"Buffers: shared hit=(\d+)", plan)[1])

    return explain


def quoted(value):
    return "NULL" if value is None else f"'{value}'"


def literal(value):
    if isinstance(value, list):
        return f"ARRAY[{', '.join(map(literal, value))}]"
    return quoted(value) if isinstance(value, str) else str(value)


MODES = pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])


@MODES
@pytest.mark.parametrize("what", CLAIMS)
def test_postgresql_reads_only_the_heads_of_the_partitions(postgres, what, mode):
    from runstead.engines.postgres.claims import claim_sql

    sql, arguments = claim_sql(list(partitions(CLAIMS[what], 1, ConcurrencySlots({}), CLAIMS[what].targets)))
    plan, pages = postgres(sql, [NOW, "p", 1, [], 64, *arguments], mode)
    assert "Seq Scan" not in plan, plan
    assert pages < 400, plan
    assert all(int(float(rows)) <= 65 * 6 for rows in re.findall(r"actual rows=([\d.]+)", plan)), plan


@MODES
@pytest.mark.parametrize(
    ("what", "own", "wider"),
    [
        ("targets", "runs_queue_target", "runs_queue_kind"),
        ("agent target", "runs_queue_agent_target", "runs_queue_agent"),
    ],
)
def test_postgresql_never_filters_a_wider_partition_for_a_target(postgres, what, own, wider, mode):
    """It might where its statistics are old, and read a million runs of other targets."""
    from runstead.engines.postgres.claims import claim_sql

    sql, arguments = claim_sql(list(partitions(CLAIMS[what], 1, ConcurrencySlots({}), CLAIMS[what].targets)))
    plan, _ = postgres(sql, [NOW, "p", 1, [], 64, *arguments], mode, without=own)
    assert not re.search(rf"\b{wider}\b", plan), plan


@MODES
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("push_heads", [NOW, [], 32]),
        ("queued_targets", ["p"]),
        ("due_heads", [NOW, 64]),
        ("occupancies", {"project_ids": ["p"], "most": 10, "uncounted": 1 << 31}),
        ("held", {"project_id": "p", "owners": ["w"], "looked_max": 10}),
        ("queue_ages", {"now": NOW, "queues_max": 200}),
    ],
)
def test_postgresql_steps_from_what_there_is_to_the_next(postgres, name, arguments, mode):
    from runstead.engines.postgres.sql import DIALECT, Q

    plan, pages = postgres(*bound(Q, DIALECT, name, arguments), mode)
    assert "Seq Scan" not in plan, plan
    assert pages < 400, plan


@MODES
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("load", [["r1"], ["p"], [False], [], []]),
        ("run_by_key", ["r1", "p"]),
        ("runs_by_id", ["r1", ["p"]]),
    ],
)
def test_postgresql_never_looks_for_a_run_among_those_of_its_project(postgres, name, arguments, mode):
    """It did where it planned for an empty table: each command then read all runs of the project."""
    from runstead.engines.postgres.sql import Q

    plan, _ = postgres(Q[name], arguments, mode, without="runs_by_id")
    assert "runs_by_project" not in plan, plan


@MODES
@pytest.mark.parametrize(
    ("query", "own"),
    [
        (RunQuery(("p",), limit=25), "runs_by_project"),
        (RunQuery(("p",), before=(0, 9_000), limit=25), "runs_by_project"),
        (RunQuery(("p",), statuses=("pending",), limit=25), "runs_by_status"),
        (RunQuery(("p",), statuses=("failed",), before=(0, 9_000), limit=25), "runs_by_status"),
    ],
)
def test_postgresql_reads_a_page_of_a_project_from_its_own_index(postgres, query, own, mode):
    """The primary key has the order too, and all other projects in it."""
    from runstead.engines.postgres.page import page_sql

    plan, pages = postgres(*page_sql(query), mode)
    assert own in plan, plan
    assert "Sort" not in plan, plan
    assert pages < 200, plan
