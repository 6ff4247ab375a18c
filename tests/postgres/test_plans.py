"""Every statement has a plan that holds: made while its tables are (nearly) empty, and as good for a million rows.

Sessions plan a statement once, whatever it is given (`plan_cache_mode`), and a fresh installation may be analysed before it
has rows. Of an empty table, a scan of a whole index costs what a look-up costs: statements leave PostgreSQL no choice.
"""

import json
import re

import pytest
from msgspec.structs import replace

from runstead.core.queue.concurrency import ConcurrencySlots
from runstead.engines.postgres.claims import claim_sql, first_claim_sql
from runstead.engines.postgres.connection import connect
from runstead.engines.postgres.page import chosen_sql, matching_sql, page_sql, shares_sql
from runstead.engines.postgres.sql import (
    BROUGHT,
    CREATED,
    DIALECT,
    MOVING,
    STORED,
    Q,
    insert_runs,
    of_one,
    together,
    update_runs,
)
from runstead.engines.sql.dialect import Update
from runstead.engines.sql.queue_partitions import partitions
from runstead.ports.store import ClaimRequest, RunQuery, SeqPage
from tests.support.statements import makers, written

#: Statements of sessions that are opened for the purpose and planned freely: `db check`, `db copy`, migrations, partitions.
FREE = re.compile(
    r"(audit|integrity|check|stats|bulk)(_|\.)|(migrate|partitions|commit_benchmark)\.|store\._look_ahead|retention\._is_unused"
)
#: Tables that are small by nature: all of one may be read.
SMALL = {
    "pulse",  # one row
    "run_index",  # one row
    "rollup_backlog",  # one row, or none
    "leadership",  # one row
    "replicas",  # as many as there are servers
    "signing_keys",  # a few for each algorithm
    "audit_expiry",  # one row, during a transaction
    "webhooks",  # a few for each project that has any
}
#: What a statement may do after all, and why.
ALLOWED = {
    "projects": "all of projects",  # an operator lists them
    "measured_projects": "all of projects",  # the leader counts their runs, from time to time
    "workers_fell_silent": "all of workers_heard",  # those that are silent have left it
    "push_services_fell_silent": "all of push_services_heard",  # those that are silent or disabled have left it
    "cancelled_pushes": "all of runs_push_cancelled",  # runs are in it until their cancel is sent
    "count_batches": "a join without an index",  # of what it was given with what it has just written
    "index_changed": "all of run_index_changes",  # what the loop has not indexed yet
    "rollup_entries_of": "all of rollup_entries",  # what the loop has not summed up yet
    "artifact_tombstones": "all of discarded_artifacts_pkey",  # held ones wait in it for the last run that lists them
    "forget_standby_markers": "all of standby_markers",  # one for each session of a day
    "transactions_under_way": "a join without an index",  # of sessions with their locks
    "remove_browser_session": "id among browser_sessions_by_identity",  # one identity has few
    "remove_member": "project_id among members_by_user",  # one user is in few projects
    "member_counts": "project_id among members_by_user",
    "member": "project_id among members_by_user",
    "revoke_key": "id among api_keys_by_project",  # one project has few
}
#: In claims: batches are in it while they are being cancelled.
ALLOWED |= dict.fromkeys(
    [f"{first}claim {n}" for first in ("", "first ") for n in range(12)], "all of batches_cancelling"
)

CLAIMS = [
    ClaimRequest("p", ("task",)),
    ClaimRequest("p", ("task", "eval", "workflow")),
    ClaimRequest("p", ("task",), ("task:0",)),
    ClaimRequest("p", ("task",), ("task:0", "task:1")),
    ClaimRequest("p", ("agent",), (), "py", "w"),
    ClaimRequest("p", ("agent",), ("agent:1",), "py", "w"),
]
CLAIMS += [replace(claim, version="v1") for claim in CLAIMS]
PAGES = [
    RunQuery(("p",), limit=25),
    RunQuery(("p",), before=(0, 9), limit=25),
    RunQuery(("p",), statuses=("pending",), limit=25),
    RunQuery(("p",), statuses=("failed",), before=(0, 9), limit=25),
]
#: Updates of what differs.
UPDATES = (
    Update("triggers", ("name",)),
    Update("webhooks", ("url",)),
    Update("alerts", ("version",), versioned=True),
    Update("webhook_deliveries", ("status", "next_attempt_at")),
    Update("schedules", ("version", "status"), versioned=True),
)
#: What no sum counts: those that have not ended, and the ends of stretches. The index by which each is found.
ALIVE, ENDED = ("pending", "running", "waiting"), ("completed", "failed", "cancelled")
SHARES = {
    RunQuery(("p",), statuses=ALIVE, created_after=0, seq_over=0, seq_under=9): "runs_by_status",
    RunQuery(("p",), statuses=ALIVE, targets=("task:0",)): "runs_by_status",
    RunQuery(("p",), statuses=("pending",)): "runs_by_status",
    RunQuery(("p",), statuses=ALIVE, schedule_id="s"): "runs_alive_by_schedule",
    RunQuery(("p",), statuses=ENDED, created_after=0, seq_over=0, seq_under=9): "runs_by_project",
    RunQuery(("p",), statuses=ENDED, targets=("task:0",), seq_over=0, seq_under=9): "runs_by_project",
    RunQuery(("p",), statuses=ENDED, schedule_id="s", seq_over=0, seq_under=9): "runs_by_schedule",
}


def made():
    """What functions put together, in each of its shapes."""
    moving = tuple(field for field in STORED if field in MOVING)
    found = {
        "update_runs": update_runs(moving),
        "update_runs and more": update_runs((*moving, "output", "title")),
        "update_runs that end": update_runs(moving, BROUGHT),
        "insert_runs": insert_runs(CREATED),
        "insert_runs and more": insert_runs(STORED),
    }
    found |= {f"updated {one.table}": DIALECT.statement(one).text for one in UPDATES}
    several = (
        found["insert_runs"],
        found["update_runs that end"],
        Q["add_events"],
        Q["add_idempotency_records"],
    )
    found["together"] = together(several)
    found["update_runs of one"] = of_one(found["update_runs"])
    found["together, of one"] = together(tuple(map(of_one, several)))
    for n, claim in enumerate(CLAIMS):
        chosen = list(partitions(claim, 1, ConcurrencySlots({}), claim.targets))
        found[f"claim {n}"] = claim_sql(chosen)[0]
        found[f"first claim {n}"] = first_claim_sql(chosen)[0]
    found |= {f"shares {n}": shares_sql(query, 0, 1)[0] for n, query in enumerate(SHARES)}
    found |= {f"page {n}": page_sql(page)[0] for n, page in enumerate(PAGES)}
    found |= {f"values of page {n}": matching_sql(page, [1])[0] for n, page in enumerate(PAGES)}
    return found | {"values of a family": chosen_sql([1], SeqPage(1))[0]}


#: The functions that do. The last ones add FOR UPDATE to a statement, or ask for the time alone.
MAKERS = {
    "sql.update_runs",
    "claims._sql",
    "claims._first_sql",
    "claims._steps",
    "page.page_sql",
    "page.chosen_sql",
    "page._bounded",
    "page.shares_sql",
}
MAKERS |= {"sql.insert_runs", "sql.together", "runs.next_due", "runs.next_available"}
#: Of those that both engines share: the statement of an `Update`.
SHARED_MAKERS = {"dialect._update_text"}

STATEMENTS = {
    name: sql for name, sql in written("runstead.engines.postgres").items() if not FREE.match(name)
} | made()
EXPLAIN = """
CREATE FUNCTION pg_temp.plan(statement text) RETURNS json LANGUAGE plpgsql AS $$
DECLARE plan json;
BEGIN
  EXECUTE 'EXPLAIN (GENERIC_PLAN, FORMAT JSON) ' || statement INTO plan;
  RETURN plan;
END $$
"""
INDEXES = """
SELECT c.relname, c.oid::regclass::text, i.indisunique,
  ARRAY(SELECT pg_get_indexdef(c.oid, n, true) FROM generate_series(1, i.indnkeyatts) AS n), i.indrelid::regclass::text
FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid WHERE c.relnamespace = 'public'::regnamespace
"""
COLUMNS = """
SELECT attrelid::regclass::text, array_agg(attname::text), array_agg(format_type(atttypid, NULL))
FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition AND attnum > 0
  AND NOT attisdropped
GROUP BY attrelid
"""
VALUES = {"text": "''", "bytea": "''", "boolean": "true"}


async def fill(session):
    """A row in every table."""
    await session.execute("SET session_replication_role = replica")  # so that rows may refer to nothing
    for table, columns, types in await session.fetch(COLUMNS):
        values = ", ".join(f"{VALUES.get(kind, '1')}::{kind}" for kind in types)
        await session.execute(
            f"INSERT INTO {table} ({', '.join(columns)}) OVERRIDING SYSTEM VALUE VALUES ({values}) ON CONFLICT DO NOTHING"
        )
    await session.execute("RESET session_replication_role")


#: What a vacuum finds depends on who else has a transaction: of visible pages, an index alone may be read.
VISIBLE = """
UPDATE pg_class SET relallvisible = CASE WHEN $1 THEN relpages ELSE 0 END
WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
"""


@pytest.fixture(scope="module", params=["empty", "one row each", "one row each, visible to all"])
def planned(databases, request):
    """(the plan of each statement, the indexes by name), with the statistics of tables of this size."""

    async def plan():
        connection = await connect(databases.server.url(databases_name))
        try:
            if request.param != "empty":
                await fill(connection)
            await connection.execute("VACUUM ANALYZE")
            await connection.execute(VISIBLE, request.param.endswith("visible to all"))
            await connection.execute(EXPLAIN)
            plans = {
                name: json.loads(await connection.fetchval("SELECT pg_temp.plan($1)", sql))[0]["Plan"]
                for name, sql in STATEMENTS.items()
            }
            return plans, {row[0]: row[2:] for row in await connection.fetch(INDEXES)}
        finally:
            await connection.close()

    databases_name = databases.fresh()  # so that data of other tests affects no plan
    return databases.call(plan())


def nodes(plan, above=()):
    """(node, its ancestors, nearest first)"""
    yield plan, above
    for child in plan.get("Plans", ()):
        yield from nodes(child, (plan, *above))


def pins(condition, column):
    """Whether a condition requires that a column equals a value."""
    return re.search(rf"(?<![\w.]){re.escape(column)} = ", re.sub(r"\b\w+\.", "", condition)) is not None


def bounds(condition, column):
    """Whether a condition on an index limits its first column."""
    column = re.escape(column)
    return (
        re.search(rf"(?<![\w.])({column} [=<>]|ROW\({column}\b)", re.sub(r"\b\w+\.", "", condition))
        is not None
    )


def faults(plan, indexes):
    """What of a plan would get slower with every row."""
    for node, above in nodes(plan):
        kind, table = node["Node Type"], node.get("Relation Name")
        where, condition = node.get("Filter", ""), node.get("Index Cond")
        if "Join Filter" in node or kind in {"Hash Join", "Merge Join"}:
            yield "a join without an index"
        if table in SMALL or kind not in {"Seq Scan", "Index Scan", "Index Only Scan"}:
            continue
        if kind == "Seq Scan":
            yield f"all of {table}"
        elif (index := node["Index Name"]) in indexes:  # else it is the catalogue's
            unique, columns, _ = indexes[index]
            if condition is None:
                # The first rows of an index, in its order, are read as such.
                if where or not above or above[0]["Node Type"] != "Limit":
                    yield f"all of {index}"
            elif not bounds(condition, columns[0]):
                yield f"all of {index}"
            elif not (unique and all(pins(condition, column) for column in columns)):
                # What has a key is found by it.
                keys = {other[1][0] for other in indexes.values() if other[0] and other[2] == table}
                yield from (f"{key} among {index}" for key in sorted(keys) if pins(where, key))


def test_every_statement_has_a_plan_that_holds(planned):
    plans, indexes = planned
    found = {name: set(faults(plan, indexes)) - {ALLOWED.get(name)} for name, plan in plans.items()}
    assert {name: one for name, one in found.items() if one} == {}


def test_a_chart_counts_runs_that_have_not_ended_from_among_those_alone(planned):
    plans, _ = planned
    read = {
        query: {node["Index Name"] for node, _ in nodes(plans[f"shares {n}"]) if "Index Name" in node}
        for n, query in enumerate(SHARES)
    }
    assert read == {query: {index} for query, index in SHARES.items()}


def test_every_exception_is_needed(planned):
    plans, indexes = planned
    assert {name: one for name, one in ALLOWED.items() if one not in faults(plans[name], indexes)} == {}


def test_every_function_that_makes_a_statement_is_tried():
    assert {name for name in makers("runstead.engines.postgres") if not FREE.match(name)} == MAKERS
    assert makers("runstead.engines.sql") == SHARED_MAKERS
