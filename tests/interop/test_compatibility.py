"""docs/compatibility.md lists every call of the drivers and every test, and nothing else."""

import ast
import json
import re
from collections import Counter

from runstead.http.framework.app import operations
from tests.docs.pages import table, ticked

from . import node

PAGE = "docs/compatibility.md"
#: Tests of the installation and of the page itself. The page does not list them.
APART = {"test_install.py", "test_compatibility.py"}
#: The names of clients in the drivers, each with its methods in the page.
CLIENTS = ("runs", "client", "queue", "lifecycle", "api", "runner", "live")
_IMPORT = re.compile(r'import \{([^}]*)\} from "((?:veryfront|@ag-ui)/[\w/-]+)"')
_METHOD = re.compile(rf"\b(?:\w+\.)?({'|'.join(CLIENTS)})((?:\.knowledge)?\.\w+)\(")


def made_calls():
    found = set()
    for driver in (node.HERE / "drivers").glob("*.mjs"):
        text = driver.read_text()
        for names, _ in _IMPORT.findall(text):
            found |= {name.strip() for name in names.split(",") if name.strip()}
        found |= {f"{client}{method}" for client, method in _METHOD.findall(text)}
    return found


def documented_calls():
    return {call for row in table(PAGE, "call") for call in ticked(row[0])}


def names_of_tests():
    return [
        function.name
        for path in node.HERE.glob("test_*.py")
        if path.name not in APART
        for function in ast.parse(path.read_text()).body
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef) and function.name.startswith("test_")
    ]


def test_every_call_is_documented_and_every_documented_call_is_made():
    assert made_calls() == documented_calls() - {"fetch"}


def test_every_test_is_documented_and_every_documented_test_exists():
    documented = {test for row in table(PAGE, "call") for test in ticked(row[2])}
    documented |= {test for row in table(PAGE, "guide") for test in ticked(row[1])}
    assert documented == set(names_of_tests())


def test_test_names_are_unique():
    assert [name for name, count in Counter(names_of_tests()).items() if count > 1] == []


def test_every_call_has_a_test_and_a_route_that_exists():
    routes = {f"{each.method} {each.path}" for each in operations()}
    for call, route, proof in table(PAGE, "call"):
        assert ticked(proof), call
        assert not route or route in routes, route


def test_the_versions_are_those_that_are_tested():
    versions = json.loads((node.HERE / "package.json").read_text())["dependencies"]
    assert {ticked(row[0])[0]: row[1] for row in table(PAGE, "package")} == versions
