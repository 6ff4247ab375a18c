"""Type checkers find users' mistakes, and none in correct code, the examples and the documentation.

Each checker runs once, over everything. Mypy, which `make lint` runs over the examples, has the configuration and the
cache of the linter, and runs here in `make test-long`.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, blocks, text

HERE = Path(__file__).parent / "typing"
MISTAKES = HERE / "mistakes.py"
WRONG = {
    number
    for number, line in enumerate(MISTAKES.read_text().splitlines(), 1)
    if re.search(r"  # wrong: ", line)
}


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """The files to check: the samples beside, the examples, and the programs of the documentation."""
    folder = tmp_path_factory.mktemp("snippets")
    for number, block in enumerate(blocks("python"), 1):
        # A page that splits an application over files names each above its code.
        file = re.search(
            rf"`(\w+\.py)`[^`\n]*:\n\n```python\n{re.escape(block.text)}", text(block.page), re.MULTILINE
        )
        name = file[1] if file else f"{block.page.stem.replace('-', '_').lower()}_{number}.py"
        if (folder / name).exists():  # of another page
            name = f"{block.page.stem.replace('-', '_').lower()}_{name}"
        (folder / name).write_text(block.text)
    return [*sorted(HERE.glob("*.py")), *sorted(ROOT.glob("examples/**/*.py")), *sorted(folder.glob("*.py"))]


def output_of(command):
    whole = [sys.executable, "-P", "-m", *command]
    done = subprocess.run(whole, check=False, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr or done.stdout
    return done.stdout


def mypy(sources, folder):
    found = re.findall(r"^(.+?):(\d+): (error: .+)$", output_of(["mypy", *map(str, sources)]), re.MULTILINE)
    return {(ROOT / path, int(line)): message for path, line, message in found}


def pyright(sources, folder):
    settings = {
        "typeCheckingMode": "standard",
        "include": [str(path) for path in [*sources, ROOT / "demo"]],
        "extraPaths": [
            str(path)
            for path in (ROOT, ROOT / "src", ROOT / "demo", *ROOT.glob("examples/*"), sources[-1].parent)
        ],
    }
    project = folder / "pyrightconfig.json"
    project.write_text(json.dumps(settings))
    found = json.loads(
        output_of(["basedpyright", "-p", str(project), "--pythonpath", sys.executable, "--outputjson"])
    )
    return {
        (Path(one["file"]), one["range"]["start"]["line"] + 1): one["message"]
        for one in found["generalDiagnostics"]
        if one["severity"] == "error"
    }


@pytest.mark.parametrize("checker", [pytest.param(mypy, marks=pytest.mark.long), pyright])
def test_a_checker_finds_every_mistake_and_no_error_in_correct_code(checker, sources, tmp_path):
    assert len(WRONG) >= 20
    found = checker(sources, tmp_path)
    assert {line for path, line in found if path == MISTAKES} == WRONG
    assert {at: message for at, message in found.items() if at[0] != MISTAKES} == {}
