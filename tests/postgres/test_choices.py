"""A statement that takes some rows chooses them once in every plan of PostgreSQL.

Under `IN (SELECT … FOR UPDATE SKIP LOCKED)` it may choose anew for every row of the outer table: what has just been
deleted is skipped by the next choice, and a limit never holds.
"""

import re

import pytest

from runstead.engines.postgres.connection import connect
from tests.support.statements import written

WRITES = re.compile(r"\b(DELETE FROM|UPDATE \w+ SET)\b")
CHOOSES = re.compile(r"\bLIMIT \$\d+\s+FOR (NO KEY )?UPDATE\b")
STATEMENTS = written("runstead.engines.postgres")
LIMITED = {name for name, sql in STATEMENTS.items() if WRITES.search(sql) and CHOOSES.search(sql)}

SILENT = "created_at, updated_at, last_heartbeat_at"

#: Name → the table, how its row n is made, and the arguments with which two rows are taken.
TAKES = {
    "prune_browser_sessions": (
        "browser_sessions (id, hash, sealed, identity, user_agent, created_at, last_seen_at, expires_at)",
        "n::text, n::text::bytea, '', 'i', '', 0, 0, n",
        (9, 2),
    ),
    "expire_audit_entries": (
        "audit_entries (project_id, at, actor_kind, actor_id, action, object_kind, object_id)",
        "'p', n, 'user', 'u', 'run.cancel', 'run', n::text",
        (9, 2),
    ),
    "sweep_leftovers": ("run_leftovers (run_created_at, run_seq)", "n, n", (9, 2)),
    "forget_idempotency_records": (
        "seals (owner, key, digest, status, body, created_at)",
        "'o', n::text, '', 200, '', n",
        (9, 2),
    ),
    "prune_bus_events": (
        "bus_events (project_id, event_id, name, digest, created_at, kept_until, last_wait, resumed, started)",
        "'p', n::text, 'paid', '', 0, n, 0, 0, 0",
        (9, 2),
    ),
    "prune_deliveries": (
        "webhook_deliveries (id, webhook_id, project_id, event_type, created_at, expires_at, status, attempts, payload)",
        "n::text, 'w', 'p', 'e', n, 0, 'failed', 1, ''",
        (9, 9, 2),
    ),
    "workers_fell_silent": (
        f"workers (id, project_id, implementation_kind, worker_key, {SILENT})",
        "n::text, 'p', 'k', n::text, 0, 0, n",
        (9, 9, 2),
    ),
    "push_services_fell_silent": (
        f"push_services (id, registrant, service_key, service_name, scope_kind, base_url, invoke_url, {SILENT})",
        "n::text, 'r', n::text, '', '', '', '', 0, 0, n",
        (9, 9, 2),
    ),
}


def choices_under_in(sql):
    """What is within `IN (SELECT …)`."""
    for found in re.finditer(r"\bIN \(\s*SELECT\b", sql):
        depth, at = 1, found.end()
        while depth:
            depth += {"(": 1, ")": -1}.get(sql[at], 0)
            at += 1
        yield sql[found.start() : at]


def test_what_is_under_in_is_found_to_its_end():
    sql = "DELETE FROM a WHERE b IN ( SELECT b FROM a WHERE c IN (1) FOR UPDATE) AND d IN (SELECT 1)"
    assert list(choices_under_in(sql)) == [
        "IN ( SELECT b FROM a WHERE c IN (1) FOR UPDATE)",
        "IN (SELECT 1)",
    ]


def test_no_statement_locks_what_it_chooses_under_in():
    for name, sql in STATEMENTS.items():
        for choice in choices_under_in(sql):
            assert not re.search(r"\bFOR (NO KEY )?(UPDATE|SHARE)\b", choice), name


def test_every_statement_that_takes_some_rows_is_tried():
    assert TAKES.keys() == LIMITED


@pytest.mark.parametrize("name", TAKES)
def test_no_more_rows_are_taken_than_asked_for_with_the_statistics_of_one(databases, name):
    table, row, arguments = TAKES[name]
    database = databases.fresh()  # so that data of other tests affects no plan
    fill = f"INSERT INTO {table} SELECT {row} FROM generate_series"
    databases.execute(database, "INSERT INTO projects (id, slug, name, created_at) VALUES ('p', 'p', 'p', 0)")
    databases.execute(database, f"{fill}(1, 1) AS n")
    databases.execute(database, f"VACUUM ANALYZE {table.split()[0]}")
    databases.execute(database, f"{fill}(2, 5) AS n")
    databases.execute(database, "INSERT INTO audit_expiry VALUES (9)")

    async def take():
        connection = await connect(databases.server.url(database))
        try:
            if "RETURNING" not in STATEMENTS[name]:
                status = await connection.execute(STATEMENTS[name], *arguments)
                return int(status.split()[1])
            rows = await connection.fetch(STATEMENTS[name], *arguments)
        finally:
            await connection.close()
        return rows[0][0] if "count(*)" in STATEMENTS[name] else len(rows)

    assert [databases.call(take()) for _ in range(3)] == [2, 2, 1]
