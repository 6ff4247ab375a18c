"""Every statement of PostgreSQL that loads records selects their columns in the order of their fields."""

import pytest

from runstead.core.queue.concurrency import ConcurrencySlots
from runstead.engines.postgres.claims import claim_sql, first_claim_sql
from runstead.engines.postgres.connection import connect
from runstead.engines.postgres.page import chosen_sql, matching_sql, page_sql
from runstead.engines.postgres.sql import COLUMNS, Q
from runstead.engines.sql.queue_partitions import partitions
from runstead.ports.store import ClaimRequest, RunQuery, SeqPage
from tests.support.row_columns import misplaced, swapped

PARTITIONS = list(partitions(ClaimRequest("p", ("task", "eval")), 1, ConcurrencySlots({}), ()))
RUNS = {name: sql for name, sql in Q.items() if COLUMNS in sql} | {
    "page": matching_sql(RunQuery(("p",)), [1])[0],
    "family": chosen_sql([1], SeqPage(1))[0],
    "claim": claim_sql(PARTITIONS)[0],
    "claim of one partition": claim_sql(PARTITIONS[:1])[0],
    "first claim": first_claim_sql(PARTITIONS)[0],
}
EVENTS = ("event", "events_after", "events_before", "tail", "family_events", "root_events")
LOADED = (
    [(name, sql, "runs") for name, sql in RUNS.items()]
    + [(name, Q[name], "events") for name in EVENTS]
    + [(name, Q[name], name) for name in ("attempts", "receipt", "event_counts")]
    + [("summaries", page_sql(RunQuery(("p",)))[0], "summaries")]
)
SWAPPED = [
    ("load", "runs", "workflow_id", "schedule_id"),
    ("attempts", "attempts", "started_at", "ended_at"),
    ("tail", "events", "flags", "sequence"),
]


@pytest.fixture
async def columns(databases, database):
    """columns(sql): the names of what a statement selects."""
    connection = await connect(databases.server.url(database))

    async def select(sql):
        prepared = await connection.prepare(sql)
        return [column.name for column in prepared.get_attributes()]

    yield select
    await connection.close()


async def test_statements_select_the_columns_of_their_records(columns):
    assert {"load", "lock_due", "locked_runs"} <= RUNS.keys()
    found = {name: misplaced(await columns(sql), record) for name, sql, record in LOADED}
    assert found == {name: set() for name in found}


async def test_two_columns_that_are_swapped_are_found(columns):
    for name, record, one, other in SWAPPED:
        assert misplaced(await columns(swapped(Q[name], one, other)), record) == {one, other}
