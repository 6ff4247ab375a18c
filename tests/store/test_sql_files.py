"""Statements are found by their names in all .sql files of an engine."""

import pytest

from runstead.engines.sql.dialect import Dialect, statements

SHARED = Dialect("sqlite", {}, {}, {"shared": "SELECT 0"})


@pytest.fixture
def package(tmp_path, monkeypatch):
    """The folder of a package without any file of statements yet."""
    folder = tmp_path / f"engine_{tmp_path.name}"  # a name of its own: modules are kept
    folder.mkdir()
    (folder / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    return folder


def test_a_statement_is_found_by_its_name_and_words_stand_in_it(package):
    (package / "runs.sql").write_text(
        "-- What is at the head is about the file.\n\n-- name: run\nSELECT {columns}\n"
    )
    (package / "events.sql").write_text("-- name: event\nSELECT 1\n\n-- name: events\nSELECT 2\n")
    assert statements(package.name, {"columns": "a, b"}, SHARED) == {
        "run": "SELECT a, b",
        "event": "SELECT 1",
        "events": "SELECT 2",
        "shared": "SELECT 0",
    }


def test_a_statement_name_is_unique(package):
    (package / "runs.sql").write_text("-- name: run\nSELECT 1\n")
    (package / "events.sql").write_text("-- name: run\nSELECT 2\n")
    with pytest.raises(AssertionError, match="two statements have the name run"):
        statements(package.name, {}, SHARED)


def test_an_engine_has_no_statement_with_the_name_of_a_shared_one(package):
    (package / "runs.sql").write_text("-- name: shared\nSELECT 1\n")
    with pytest.raises(AssertionError, match="two statements have the name shared"):
        statements(package.name, {}, SHARED)


def test_a_text_serves_several_statements_with_the_words_of_each(package):
    (package / "runs.sql").write_text("-- name: run | lock_run\nSELECT {a|b} FROM runs{| FOR UPDATE}\n")
    found = statements(package.name, {}, SHARED)
    assert found["run"] == "SELECT a FROM runs"
    assert found["lock_run"] == "SELECT b FROM runs FOR UPDATE"
