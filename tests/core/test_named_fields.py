"""Records with many fields are built with the names of the fields, so that two values cannot be swapped unnoticed."""

import ast
from pathlib import Path

import runstead

ROOT = Path(runstead.__file__).parent
#: Folder → how many positional arguments a class may get. Engines and rules build records from whole rows.
PLACES_MAX = {"core": 8, "ports": 8, "engines": 8, "commands": 8, "http": 8} | dict.fromkeys(
    ("security", "loops", "web", "sdk", "cli", "server", "testing"), 4
)
SOURCES = sorted(path for folder in PLACES_MAX for path in (ROOT / folder).rglob("*.py"))


def made_by_place(source, places_max):
    """Return (line, class) for each call of a class with more than `places_max` positional arguments."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and len(node.args) > places_max:
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name.lstrip("_")[:1].isupper():
                yield node.lineno, name


def test_records_of_many_fields_are_made_by_names():
    assert len(SOURCES) > 100
    for path in SOURCES:
        places_max = PLACES_MAX[path.relative_to(ROOT).parts[0]]
        assert list(made_by_place(path.read_text(), places_max)) == [], path


def test_a_long_list_of_places_is_found():
    assert list(made_by_place("View(1, 2, 3, 4, 5)", 4)) == [(1, "View")]
    assert list(made_by_place("runs.View(1, 2, 3, 4, 5)", 4)) == [(1, "View")]
    assert list(made_by_place("View(1, 2, 3, 4, e=5)\nview(1, 2, 3, 4, 5)", 4)) == []
