"""Imports run one way between folders: core ← ports ← (security, engines), commands ← (http, loops) ← web."""

import ast
import sys
from functools import cache
from pathlib import Path

import runstead

ROOT = Path(runstead.__file__).parent
SOURCES = sorted(ROOT.rglob("*.py"))
FOLDERS = {path.relative_to(ROOT).parts[0] for path in ROOT.glob("*/**/*.py")}
LINES_MAX = 500

#: Which folders the files of a folder may import from, beside their own.
BELOW = {
    "core": set(),
    "ports": {"core"},
    "security": {"core", "ports"},
    "engines": {"core", "ports"},
    "commands": {"core", "ports", "security"},
    "loops": {"core", "ports", "security", "commands"},
    "http": {"core", "ports", "security", "commands"},
    # A page takes the same credentials and the same bodies as the route of the same noun.
    "web": {"core", "ports", "security", "commands", "http"},
    "sdk": set(),
    "bench": set(),
    "testing": FOLDERS - {"cli", "bench", "server"},
    "cli": {"core", "sdk", "bench", "server", "security"},
    "server": FOLDERS - {"testing", "bench", "sdk"},
}
ENGINES = ("sqlite", "postgres")


def folder(path):
    return path.relative_to(ROOT).parts[0]


@cache
def imported(path):
    """Full names of what a file imports, relative imports included."""
    return tuple(_imported(path))


def _imported(path):
    here = ["runstead", *path.relative_to(ROOT).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) + 1 - node.level] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


def test_every_folder_has_its_place_in_the_order():
    assert set(BELOW) == FOLDERS
    assert {path.name for path in ROOT.glob("*.py")} == {"__init__.py"}


def test_a_file_imports_only_from_its_folder_and_lower_layers():
    for path in SOURCES:
        here = folder(path)
        known = {name.split(".")[1] for name in imported(path) if name.startswith("runstead.")}
        allowed = {"sdk"} if path == ROOT / "__init__.py" else BELOW[here] | {here}
        assert known - {"__version__"} <= allowed, path


def test_engines_do_not_know_each_other():
    for path in ROOT.glob("engines/*/**/*.py"):
        here = path.relative_to(ROOT).parts[1]
        others = {engine for engine in ENGINES if engine != here} if here != "notifiers" else {"sqlite"}
        known = {name.split(".")[2] for name in imported(path) if name.startswith("runstead.engines.")}
        assert not known & others, path


def test_the_core_needs_only_the_standard_library_and_msgspec():
    for path in ROOT.glob("core/**/*.py"):
        foreign = {name.split(".")[0] for name in imported(path)} - {"msgspec", "runstead"}
        if path.name == "cron.py":  # a library knows which times an expression names
            foreign -= {"cronsim"}
        assert foreign <= sys.stdlib_module_names, path


def test_files_are_short_and_have_unique_names():
    tests = Path(__file__).parents[1]
    files = [*SOURCES, *ROOT.rglob("*.sql"), *tests.rglob("*.py"), *tests.rglob("*.sql")]
    lines = {str(path): path.read_text().count("\n") for path in files}
    assert {name: count for name, count in lines.items() if count > LINES_MAX} == {}
    assert {path.stem for path in SOURCES} & {"utils", "common", "helpers", "manager"} == set()


def test_no_two_files_of_a_folder_differ_by_an_ending():
    for path in {path.parent for path in SOURCES}:
        stems = [file.stem for file in path.glob("*.py")]
        bare = [stem.removesuffix("ing").removesuffix("s") for stem in stems]
        assert sorted({stem for stem, one in zip(stems, bare, strict=True) if bare.count(one) > 1}) == [], (
            path
        )
