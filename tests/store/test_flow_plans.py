"""A claim costs the same, however many runs of a key at its limit stand before the next one."""

import sqlite3
from contextlib import closing

import pytest

from runstead.core import limits
from runstead.core.runs.run import KEYED
from runstead.engines.sql.steps import bind
from runstead.engines.sqlite.migrate import migrate
from runstead.engines.sqlite.queue import HEADS
from runstead.engines.sqlite.sql import DIALECT

from .test_queue_plans import steps_of

MANY, NOW = 4_000, 500_000
ROWS = [("a", "pending", 0, MANY), ("a", "running", None, 1), ("b", "pending", 1, 1), (None, "pending", 2, 1)]
TURNS = {
    "project_id": "p",
    "target": "task:t",
    "until": None,
    "visited": limits.keys_visited_max,
    "now": NOW,
    "rated": False,
}


@pytest.fixture(scope="module")
def connection():
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        migrate(connection)
        for key, status, at, many in ROWS:
            connection.execute(
                "INSERT INTO runs (uid, project_id, run_id, kind, status, owner_kind, owner_id, root_run_id, created_at,"
                " updated_at, path, descendants_total, descendants_active, push_failures, attempt, attempts_lost,"
                " latest_event_id, latest_external_event_sequence, version, target, priority, available_at,"
                " concurrency_key) WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ?1)"
                " SELECT 'u', 'p', coalesce(?2, 'none') || ?3 || n, 'task', ?3, 'project', 'p', 'r', 0, 0, '/',"
                " 0, 0, 0, 0, 0, 0, 0, 1, 'task:t', ?4, ?5, ?2 FROM n",
                (many, key, status, 0 if key is None else -KEYED, at),
            )
        yield connection


def turns(connection, **given):
    statement = DIALECT.statement("turns")
    arguments = bind(statement, TURNS | given)
    found = [row[1] for row in connection.execute(statement.text, arguments)]
    return found, steps_of(connection, statement.text, arguments)


def test_a_key_at_its_limit_is_passed_without_reading_its_runs(connection):
    found, steps = turns(connection, after="", per_key=1, most=9)
    assert (found, steps < 60) == (["b"], True)
    found, steps = turns(connection, after="", per_key=None, most=9)
    assert (found, steps < 60) == (["a", "b"], True)
    connection.execute("INSERT INTO rate_buckets VALUES ('p', 'task:t', 'a', 9, 0, ?, ?)", (NOW + 1, NOW + 1))
    found, steps = turns(connection, after="", per_key=None, most=9, rated=True)
    assert (found, steps < 90) == (["b"], True)
    assert steps_of(connection, HEADS["key", False], ("p", "task:t", "b", NOW, 1)) < 60


@pytest.mark.parametrize(("kind", "equal"), [("kind", ("task",)), ("target", ("task:t", "task"))])
def test_a_claim_of_runs_without_a_key_reads_no_run_with_one(connection, kind, equal):
    arguments = ("p", *equal, NOW, 9)
    assert len(connection.execute(HEADS[kind, False], arguments).fetchall()) == 1
    assert steps_of(connection, HEADS[kind, False], arguments) < 60
