"""One statement serves both engines: it is translated for each, and arguments find their parameters by name."""

import pytest

from runstead.engines.postgres.sql import DIALECT as POSTGRES
from runstead.engines.sql.dialect import Dialect, Statement, Update
from runstead.engines.sql.steps import bind
from runstead.engines.sqlite.sql import DIALECT as SQLITE

COLUMNS = {"price": ("model", "input")}


def translated(body, engine):
    return Dialect(engine, COLUMNS, {"clock": "clock()"}, {"it": body}).named["it"]


@pytest.mark.parametrize(
    ("written", "sqlite"),
    [
        ("SELECT a FROM t WHERE b = :b", "SELECT a FROM t WHERE b = ?1"),
        ("SELECT a FROM t WHERE b = :b::bigint", "SELECT a FROM t WHERE b = ?1"),
        ("SELECT a FROM t WHERE id = ANY (ARRAY[:id::text])", "SELECT a FROM t WHERE id = ?1"),
        (
            "SELECT a FROM t WHERE id = ANY (:ids::text[])",
            "SELECT a FROM t WHERE id IN (SELECT value FROM json_each(?1))",
        ),
        (
            "SELECT a FROM t WHERE id <> ALL (:ids::text[])",
            "SELECT a FROM t WHERE id NOT IN (SELECT value FROM json_each(?1))",
        ),
        (
            "DELETE FROM t WHERE ctid = ANY (ARRAY(SELECT ctid FROM t WHERE (a < :a) LIMIT :n FOR UPDATE SKIP LOCKED))",
            "DELETE FROM t WHERE rowid IN (SELECT rowid FROM t WHERE (a < ?1) LIMIT ?2)",
        ),
        ("SELECT a FROM t AS b FOR NO KEY UPDATE OF b", "SELECT a FROM t AS b"),
        ("SELECT greatest(a, :b) FROM t", "SELECT max(a, ?1) FROM t"),
        ("SELECT a FROM t {INDEXED BY t_a} WHERE b", "SELECT a FROM t INDEXED BY t_a WHERE b"),
    ],
)
def test_sqlite_gets_its_own_words_for_an_expression(written, sqlite):
    assert translated(written, "sqlite").text == sqlite


def test_postgresql_gets_the_text_as_it_is_written():
    text = "SELECT a FROM t WHERE b = :b::bigint AND c = ANY (:c::text[]) FOR UPDATE"
    assert translated(text, "postgres").text == text.replace(":b:", "$1:").replace(":c:", "$2:")


def test_an_index_is_forced_on_sqlite_only():
    assert (
        translated("SELECT a FROM t {INDEXED BY t_a} WHERE b", "postgres").text == "SELECT a FROM t WHERE b"
    )


def test_a_parameter_has_one_number_wherever_it_is():
    text = "UPDATE t SET a = :now, b = :now WHERE id = :id AND c < :now"
    assert translated(text, "postgres") == Statement(
        "UPDATE t SET a = $1, b = $1 WHERE id = $2 AND c < $1", ("now", "id")
    )


def test_words_stand_for_columns_parameters_and_expressions():
    text = "SELECT {clock}, {price}, {p.price} FROM t AS p WHERE (model, input) = ({:price})"
    assert translated(text, "postgres").text == (
        "SELECT clock(), model, input, p.model, p.input FROM t AS p WHERE (model, input) = ($1, $2)"
    )


def test_a_statement_may_have_a_form_for_each_engine():
    body = "-- Why there are two.\n-- postgres\nSELECT 1\n-- sqlite\n-- A comment: of one.\nSELECT 2\n"
    assert [translated(body, engine).text for engine in ("postgres", "sqlite")] == ["SELECT 1", "SELECT 2"]


def test_an_engine_without_a_form_has_no_such_statement():
    bodies = {"it": "-- postgres\nSELECT 1\n"}
    assert Dialect("sqlite", {}, {}, bodies).named == {}


def test_arguments_are_bound_by_name_and_none_may_be_missing():
    statement = Statement("SELECT $1, $2", ("first", "second"))
    assert bind(statement, {"second": 2, "other": 3, "first": 1}) == [1, 2]
    with pytest.raises(KeyError, match="second"):
        bind(statement, {"first": 1})


def test_an_update_writes_the_columns_that_differ_and_may_demand_a_version():
    update = Update("schedules", ("name", "version"), versioned=True)
    assert SQLITE.statement(update) == Statement(
        "UPDATE schedules SET name = ?1, version = ?2 WHERE id = ?3 AND version = ?4",
        ("name", "version", "id", "old_version"),
    )
    assert POSTGRES.statement(update).parameters == ("name", "version", "id", "old_version")
    assert SQLITE.statement(update) is SQLITE.statement(Update(*update))


def test_both_engines_have_every_statement_but_what_sqlite_does_not_need():
    only_postgres = {"add_deliveries", "any_rollup_entry", "clock", "lock_names", "transactions_under_way"}
    assert POSTGRES.named.keys() - SQLITE.named.keys() == only_postgres
    assert SQLITE.named.keys() <= POSTGRES.named.keys()


def test_both_forms_of_a_statement_have_the_same_parameters():
    # PostgreSQL counts the runs of a batch in another table, and measures messages itself.
    for name in SQLITE.named.keys() - {"add_batch", "messages_after"}:
        sqlite, postgres = (set(dialect.named[name].parameters) for dialect in (SQLITE, POSTGRES))
        assert sqlite - {"now"} == postgres - {"now"}, name  # SQLite's time is a parameter
