"""No statement of SQLite reads or sorts a whole table that grows with the runs. It plans without statistics, from its rules."""

import re
from contextlib import closing

import pytest

from runstead.engines.sql.dialect import Update
from runstead.engines.sqlite.connection import connect
from runstead.engines.sqlite.migrate import migrate
from runstead.engines.sqlite.page import chosen_sql, page_sql, shares_sql
from runstead.engines.sqlite.queue import HEADS
from runstead.engines.sqlite.run_index import _terms_sql as index_terms
from runstead.engines.sqlite.sql import DIALECT, insert_events, insert_runs, put_terms, update_run
from runstead.ports.store import RunQuery
from tests.support.statements import makers, written

#: What reads whole tables on purpose: `db check`, `db copy`, migrations, the measuring of the disk.
FREE = re.compile(r"(audit|integrity|check|stats|bulk)(_|\.)|(migrate|commit_benchmark)\.")
#: Which tables a statement reads whole, and why.
READ = {
    "cancelling": "family_cancels",  # empty but for cancels under way
    "last_seq": "sqlite_sequence",  # one row for each of few tables
    "projects": "projects",  # an operator lists them
    "any_project": "projects",  # up to the first
    "measured_projects": "projects",  # the leader counts their runs, from time to time
    "queue_ages": "runs",  # the first one of the index of the queue
    "artifact_tombstones": "discarded_artifacts",  # the first ones, in the order of its key
    "unfinished_batches": "batches",  # the first ones of two indexes, in their order
    "running_bulk_jobs": "bulk_jobs",  # the first ones, in the order of an index of those that run
    "projects_with_webhooks": "webhooks",  # few have any
    "push_services_fell_silent": "push_services",  # few
    "store.check": "pulse",  # one row
    "replicas": "replicas",  # one for each server
    "forget_replicas": "replicas",
    "index_state": "run_index",  # one row
    "index_mark": "run_index",
    "index_version": "run_index",
    "note_changes": "run_index",
    "move_mark": "run_index",
    "index_changes": "run_index_changes",  # the first ones, in the order of its key
    "index_changed": "run_index_changes",  # what the loop has not indexed yet
    "rollup_backlog": "rollup_backlog",  # one row, or none
    "move_rollup_backlog": "rollup_backlog",
    "rollup_entries": "rollup_entries rollup_folds",  # the first ones, in the order of its key; and one row
    "begin_tick": "rollup_folds",
    "rollup_entries_of": "rollup_entries",  # what the loop has not summed up yet
    "signing_keys": "signing_keys",  # a few for each algorithm
    "drop_signing_keys": "signing_keys",
}
#: What a statement sorts, or groups.
SORTED = {
    "projects": "all of them, for an operator",
    "measured_projects": "all of them, from time to time",
    "queue_ages": "one age for each of a bounded number of queues",
    "projects_by_id": "those of one user",
    "drop_revoked_keys": "those of one project",
    "members": "those of one project",
    "worker_versions": "those of one project",
    "due_deliveries": "a share of each webhook",
    "ended_runs": "the statuses of a target in at most a day",
    "event_counts": "the types of one log",
    "input_requests_of_run": "those of one run",
    "push_services_page": "those of a few projects",
    "push_services_reaching": "those of a few projects",
    "push_services_fell_silent": "few",
    "replicas": "one for each server",
    "retention_family": "one page, and the root",
    "signing_keys": "few",
    "drop_signing_keys": "few",
    "session": "those of one run",
    "held": "as many as are looked at",
    "unfinished_batches": "a page of each kind",
    "usage_lines": "sums: a line for each name and model",
    "index_changed": "what the loop has not indexed yet",
    "shares 0": "those that have not ended",
    "shares 1": "those of a schedule that have not ended",
    "shares 2": "those of the ends of a stretch",
}
#: Updates of what differs.
UPDATES = (
    Update("batches", ("running", "waiting")),
    Update("triggers", ("name",)),
    Update("webhooks", ("url",)),
    Update("alerts", ("version",), versioned=True),
    Update("webhook_deliveries", ("status", "next_attempt_at")),
    Update("schedules", ("version", "status"), versioned=True),
)
#: What no sum counts, and the index by which it is found.
ALIVE = ("pending", "running", "waiting")
SHARES = {
    RunQuery(("p",), statuses=ALIVE): "runs_by_status",
    RunQuery(("p",), statuses=ALIVE, schedule_id="s"): "runs_alive_by_schedule",
    RunQuery(("p",), statuses=("completed", "failed"), seq_over=0, seq_under=9): "runs_by_project",
}


def made():
    """What functions put together, in each of its shapes."""
    found = {f"head {line}": sql for line, sql in HEADS.items()}
    found |= {"update_run": update_run(("status",)), "insert_events": insert_events(2)}
    found |= {"insert_runs": insert_runs((0, 1, 2), 2), "put_terms": put_terms(2)}
    found |= {f"updated {one.table}": DIALECT.statement(one).text for one in UPDATES}
    found["index_terms"] = index_terms(2)
    found |= {f"shares {n}": shares_sql(query, 0, 1)[0] for n, query in enumerate(SHARES)}
    pages = [
        RunQuery(("p",), limit=25),
        RunQuery(("p",), before=(0, 9), limit=25),
        RunQuery(("p",), statuses=("pending", "failed"), limit=25),
        RunQuery(("p",), statuses=("failed",), before=(0, 9), limit=25),
    ]
    found["chosen runs"] = chosen_sql(frozenset({"input"}))
    return found | {f"page {n}": page_sql(page)[0] for n, page in enumerate(pages)}


#: The functions that do.
MAKERS = {
    "queue._head_sql",
    "sql.update_run",
    "sql.insert_runs",
    "sql.insert_events",
    "page._select",
    "page.chosen_sql",
    "page.shares_sql",
    "run_index._terms_sql",
}
#: Of those that both engines share: the statement of an `Update`.
SHARED_MAKERS = {"dialect._update_text"}

STATEMENTS = {
    name: sql for name, sql in written("runstead.engines.sqlite").items() if not FREE.match(name)
} | made()


@pytest.fixture(scope="module")
def plans(tmp_path_factory):
    """Name → the lines of its plan."""
    with closing(connect(tmp_path_factory.mktemp("plans") / "empty.db", "OFF")) as connection:
        migrate(connection)

        def plan(sql):
            marks = [int(number or 0) for number in re.findall(r"\?(\d*)", sql)]
            many = max(*marks, 0) or len(marks) if marks else 0
            return [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", [None] * many)]

        return {name: plan(sql) for name, sql in STATEMENTS.items()}


def read_whole(lines):
    """The tables of a plan that are read from their beginning; not what it makes itself, which it calls by a name too."""
    own = {line.split()[1] for line in lines if line.startswith(("CO-ROUTINE", "MATERIALIZE"))}
    scans = [line for line in lines if line.startswith("SCAN") and "VIRTUAL TABLE" not in line]  # json_each
    names = {line.split()[1] for line in scans} - own - {"CONSTANT"}
    return {name for name in names if not name.endswith("-ROW")}  # of VALUES


def test_no_statement_reads_a_whole_table(plans):
    found = {
        name: read_whole(lines) - {*READ.get(name.partition(":")[0], "").split()}
        for name, lines in plans.items()
    }
    assert {name: tables for name, tables in found.items() if tables} == {}


def test_no_statement_makes_an_index_or_sorts_what_may_be_much(plans):
    for name, lines in plans.items():
        assert not any("AUTOMATIC" in line for line in lines), name
        assert name in SORTED or not any("TEMP B-TREE" in line for line in lines), (name, lines)


def test_a_chart_counts_runs_that_have_not_ended_from_among_those_alone(plans):
    read = {
        query: {word for line in plans[f"shares {n}"] for word in line.split() if word.startswith("runs_")}
        for n, query in enumerate(SHARES)
    }
    assert read == {query: {index} for query, index in SHARES.items()}


def test_every_exception_is_needed(plans):
    named = {name.partition(":")[0]: lines for name, lines in plans.items() if read_whole(lines)}
    assert {
        name: table for name, table in READ.items() if not {*table.split()} <= read_whole(named.get(name, []))
    } == {}
    assert [name for name in SORTED if not any("TEMP B-TREE" in line for line in plans[name])] == []


def test_every_function_that_makes_a_statement_is_tried():
    assert {name for name in makers("runstead.engines.sqlite") if not FREE.match(name)} == MAKERS
    assert makers("runstead.engines.sql") == SHARED_MAKERS
