import ast
import re
from pathlib import Path

import pytest

import runstead
from runstead.core.errors import CODES, RUN_CODES, Error, not_found

SOURCES = sorted(Path(runstead.__file__).parent.rglob("*.py"))


def raised():
    """Every code that the sources give to Error as a literal."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Error":
                first = node.args[0] if node.args else None
                if isinstance(first, ast.Constant) and isinstance(first.value, str):
                    yield path.name, first.value


def test_every_code_that_is_raised_is_in_the_table():
    assert [(name, code) for name, code in raised() if code not in CODES] == []


@pytest.mark.parametrize("code", [*CODES, *RUN_CODES])
def test_every_code_has_a_sentence(code):
    assert re.fullmatch(r"[A-Z]+(_[A-Z]+)*", code)
    sentence = {**CODES, **RUN_CODES}[code]
    assert sentence.endswith(".")
    assert sentence[0].isupper()


def test_the_codes_that_clients_rely_on_are_in_the_table():
    assert {
        "RUN_ID_CONFLICT",
        "RUN_ID_AMBIGUOUS",
        "TOOL_RESULT_NOT_WAITING",
        "TOOL_RESULT_CONFLICT",
        "RUN_NOT_ACTIVE",
        "ATTEMPT_SUPERSEDED",
        "IDEMPOTENCY_KEY_REUSED",
        "IDEMPOTENCY_KEY_IN_USE",
    } <= CODES.keys()
    assert {
        "CANCELLED",
        "LEASE_EXPIRED",
        "ATTEMPTS_EXHAUSTED",
        "TIMEOUT",
        "OUTPUT_TOO_LARGE",
    } <= RUN_CODES.keys()


def test_an_error_without_a_known_code_cannot_be_made():
    with pytest.raises(AssertionError):
        Error("NO_SUCH_CODE", "?")


def test_unknown_and_invisible_records_get_the_same_answer():
    error = not_found("Run")
    assert (error.code, error.message, str(error)) == ("NOT_FOUND", "Run not found", "Run not found")
