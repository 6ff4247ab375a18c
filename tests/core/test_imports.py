"""Imports run one way: core ← ports ← commands ← (http, loops) ← web; engines know core and ports; one file wires."""

import ast
import sys
from pathlib import Path

import pytest

import runstead

ROOT = Path(runstead.__file__).parent
SOURCES = sorted(ROOT.rglob("*.py"))
LINES_MAX = 500

CORE = {"append", "clock", "conversation", "errors", "event", "form", "input_request", "limits", "message"}
CORE |= {"cron", "event_types", "hint", "principal", "project", "usage"}
CORE |= {"retry", "run", "seal", "transition", "transitions", "worker", "schedule"}
CORE |= {"push_service", "signing_key", "trigger", "webhook", "webhook_event"}
CORE |= {"leadership", "concurrency", "turns", "artifact", "batch", "schedule_edit", "invariants"}
CORE |= {"browser_session"}
CORE |= {"activity"}
CORE |= {"price", "usage_report", "rollup", "rollup_audit"}
CORE |= {"replica"}
PORTS = {"store", "notifier", "relay", "artifacts"}
GATES = {"egress", "sealing", "signing"}
ENGINES = {"memory", "sqlite", "postgres", "nats", "filesystem", "s3"}
OUTSIDE = {"http", "web", "loops"}
COMMAND_LINE = {"cli", "administration", "__main__", "supervised"}

#: The server for users' tests is wired of the same parts, over memory.
WIRING = {"main", "engines", "testing", "supervisor", "supervised", "process_metrics", "listening"}

#: Which rooms a room may know beside itself. Rooms that are not named here wire things, and may know all but main.
MAY_IMPORT = dict.fromkeys(CORE, CORE) | dict.fromkeys(PORTS | ENGINES | GATES, CORE | PORTS)
MAY_IMPORT |= {"commands": CORE | PORTS | GATES}
MAY_IMPORT |= dict.fromkeys(OUTSIDE, CORE | PORTS | GATES | {"commands", "telemetry"})
MAY_IMPORT["web"] = MAY_IMPORT["web"] | {
    "http"
}  # the same callers by the same credentials, and the same statuses: it stands on that door
MAY_IMPORT |= {"sdk": set(), "bench": set(), "telemetry": CORE, "settings": CORE, "__init__": set()}


def room(path):
    return path.relative_to(ROOT).with_suffix("").parts[0]


def imported(path):
    """Full names of what a file imports, members of `runstead` and relative imports included."""
    here = ["runstead", *path.relative_to(ROOT).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) + 1 - node.level] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


def rooms_known(path):
    known = {name.split(".")[1] for name in imported(path) if name.startswith("runstead.")}
    return known - {room(path), "__version__"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_knows_only_what_its_room_may_know(path):
    known, here = rooms_known(path), room(path)
    assert "main" not in known or here in COMMAND_LINE, "only the command line starts the program"
    if here in MAY_IMPORT:
        assert known <= MAY_IMPORT[here]
    elif here not in WIRING:
        assert not known & ENGINES, "only what wires knows engines"


@pytest.mark.parametrize("path", [path for path in SOURCES if room(path) in CORE], ids=lambda path: path.stem)
def test_the_core_needs_the_standard_library_and_msgspec_alone(path):
    foreign = {name.split(".")[0] for name in imported(path)} - {"msgspec", "runstead"}
    if room(path) == "cron":  # which times an expression names is a library's business, in this one file
        foreign -= {"cronsim"}
    assert foreign <= sys.stdlib_module_names


def test_files_are_short_and_have_names_of_their_own():
    tests = Path(__file__).parents[1]
    files = [*SOURCES, *ROOT.rglob("*.sql"), *tests.rglob("*.py"), *tests.rglob("*.sql")]
    lines = {str(path): path.read_text().count("\n") for path in files}
    assert {name: count for name, count in lines.items() if count > LINES_MAX} == {}
    assert {path.stem for path in SOURCES} & {"utils", "common", "helpers", "manager"} == set()
