"""Replicas of two versions share one schema during an upgrade: a migration takes nothing from the earlier one."""

import re

import pytest

from runstead import __version__
from runstead.engines.sql.expand_contract import pending_migration
from runstead.engines.sql.sql_files import migrations

# The last ones before the rule. Only a development version has applied them.
BEFORE_THE_RULE = {"sqlite": "0031_calls_of_push_services", "postgres": "0029_calls_of_push_services"}
MIGRATIONS = [
    (engine, name, sql)
    for engine in BEFORE_THE_RULE
    for name, sql in migrations(f"runstead.engines.{engine}").items()
]


@pytest.mark.parametrize(
    ("engine", "name", "sql"), MIGRATIONS, ids=[f"{engine}-{name[:4]}" for engine, name, _ in MIGRATIONS]
)
def test_a_migration_only_expands_the_schema_or_names_the_version_that_allows_it(engine, name, sql):
    found = pending_migration(name, sql)
    assert len(re.findall(r"^-- contract:", sql, re.MULTILINE)) == (found.works_from is not None), (
        "write `-- contract: X.Y.Z` on a line of its own"
    )
    if name <= BEFORE_THE_RULE[engine]:
        return
    assert found.breaking == () or found.works_from is not None, (
        "An earlier version may not work with these statements: see CONTRIBUTING.md, 'How to add a migration'"
    )
    if found.works_from is not None:
        first, this = (tuple(map(int, text.split("."))) for text in (found.works_from, __version__))
        assert first <= this, "the version that works with the result must be released first"


@pytest.mark.parametrize(
    "sql",
    [
        "DROP TABLE runs",
        "drop index runs_due",
        "ALTER TABLE runs DROP COLUMN title",
        "ALTER TABLE runs RENAME COLUMN title TO name",
        "ALTER TABLE runs RENAME TO jobs",
        "ALTER TABLE runs ADD COLUMN size bigint NOT NULL",
        "ALTER TABLE runs ADD COLUMN a bigint NOT NULL DEFAULT 0, ADD COLUMN b bigint NOT NULL, ADD COLUMN c text",
        "ALTER TABLE runs ALTER COLUMN title SET NOT NULL",
        "ALTER TABLE runs ALTER COLUMN seq TYPE text",
        "ALTER TABLE runs ADD CONSTRAINT small CHECK (seq < 10)",
        "CREATE UNIQUE INDEX one ON runs (title)",
        "CREATE TABLE new (a text); DROP TABLE runs; ALTER TABLE new RENAME TO runs",
        "DROP TABLE runs; CREATE TABLE runs (a text)",
    ],
)
def test_a_statement_that_takes_something_from_an_earlier_version_is_found(sql):
    found = pending_migration("x", f"-- Why.\n{sql};\n")
    assert len(found.breaking) == 1
    assert not found.safe
    marked = pending_migration("x", f"-- Why.\n-- contract: 0.2.0\n{sql};\n")
    assert (marked.breaking, marked.works_from, marked.safe) == (found.breaking, "0.2.0", False)


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE new (a text NOT NULL UNIQUE); CREATE UNIQUE INDEX one ON new (a); DROP TABLE new",
        "CREATE TABLE part (a text); ALTER TABLE part ADD PRIMARY KEY (a)",
        "ALTER TABLE runs ADD COLUMN size bigint, ADD COLUMN b bigint NOT NULL DEFAULT 0 -- and DROP nothing",
        "DROP INDEX runs_due; CREATE INDEX runs_due ON runs (due_at)",
        "CREATE INDEX more ON runs (title)",
        "CREATE FUNCTION packed(n bigint) RETURNS int AS $$ SELECT 1; $$; DROP FUNCTION packed(bigint)",
    ],
)
def test_what_an_earlier_version_does_not_use_may_change(sql):
    assert pending_migration("x", f"{sql}\n;").safe
