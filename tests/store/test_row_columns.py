"""Every statement of SQLite that loads records selects their columns in the order of their fields."""

import re
from contextlib import closing

import pytest

from runstead.engines.sqlite.connection import connect
from runstead.engines.sqlite.migrate import migrate
from runstead.engines.sqlite.page import chosen_sql, page_sql
from runstead.engines.sqlite.sql import COLUMNS, Q
from runstead.ports.store import RunQuery
from tests.support.row_columns import misplaced, swapped

RUNS = {name: sql for name, sql in Q.items() if COLUMNS in sql} | {"page": chosen_sql(frozenset())}
EVENTS = ("events_between", "events_of_types", "events_backwards", "events_of_types_backwards", "event")
LOADED = (
    [(name, sql, "runs") for name, sql in RUNS.items()]
    + [(name, Q[name], "events") for name in EVENTS]
    + [(name, Q[name], name) for name in ("attempts", "receipt", "event_counts")]
    + [("summaries", page_sql(RunQuery(("p",)))[0], "summaries")]
)


@pytest.fixture(scope="module")
def columns(tmp_path_factory):
    """columns(sql): the names of what a statement selects."""
    with closing(connect(tmp_path_factory.mktemp("columns") / "empty.db", "OFF")) as connection:
        migrate(connection)

        def select(sql):
            marks = [int(number or 0) for number in re.findall(r"\?(\d*)", sql)]
            given = [0] * (max(*marks, 0) or len(marks)) if marks else []
            return [column[0] for column in connection.execute(sql, given).description]

        yield select


def test_there_are_statements_that_load_runs():
    assert {"run_by_key", "run_by_seq", "page", "active_descendants"} <= RUNS.keys()


@pytest.mark.parametrize(("name", "sql", "record"), LOADED, ids=[name for name, *_ in LOADED])
def test_a_statement_selects_the_columns_of_its_record(columns, name, sql, record):
    assert misplaced(columns(sql), record) == set(), name


@pytest.mark.parametrize(
    ("name", "record", "one", "other"),
    [
        ("run_by_key", "runs", "workflow_id", "schedule_id"),
        ("attempts", "attempts", "started_at", "ended_at"),
        ("events_between", "events", "flags", "sequence"),
    ],
)
def test_two_columns_that_are_swapped_are_found(columns, name, record, one, other):
    assert misplaced(columns(swapped(Q[name], one, other)), record) == {one, other}
