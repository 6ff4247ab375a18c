"""Records with many fields are built with the names of the fields, so that two values cannot be swapped unnoticed."""

import ast
from pathlib import Path

import pytest

import runstead

ROOT = Path(runstead.__file__).parent
FOLDERS = ("core", "ports", "engines", "commands", "http")
SOURCES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
PLACES_MAX = 8


def made_by_place(source):
    """Return (line, class) for each call of a class with more than `PLACES_MAX` positional arguments."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and len(node.args) > PLACES_MAX:
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name.lstrip("_")[:1].isupper():
                yield node.lineno, name


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_records_of_many_fields_are_made_by_names(path):
    assert list(made_by_place(path.read_text())) == []


def test_a_long_list_of_places_is_found():
    assert list(made_by_place("View(1, 2, 3, 4, 5, 6, 7, 8, 9)")) == [(1, "View")]
    assert list(made_by_place("runs.View(1, 2, 3, 4, 5, 6, 7, 8, 9)")) == [(1, "View")]
    assert list(made_by_place("View(1, 2, 3, 4, 5, 6, 7, 8, i=9)\nview(1, 2, 3, 4, 5, 6, 7, 8, 9)")) == []
