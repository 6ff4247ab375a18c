"""What CI installs is pinned by hash: packages of PyPI and npm, actions, container images."""

import json
import re
from pathlib import Path

import pytest

from requirements.sbom import locked

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
INSTALLS = re.compile(
    r"\bpip3? .*\binstall\b|\b(pipx|uvx|npx|gem|cargo) |\b(npm|uv|go) (.* )?(install|ci|add|run)\b"
)
# The wheel and the tree themselves, without what they need; and the tool that writes the lock files, which CI does not run.
OWN = re.compile(r" --no-deps .*(dist/\*\.whl|--editable \.)$|--quiet uv$")


def commands(file):
    """Commands that install packages from a registry, of a script, a Makefile or a workflow."""
    lines = [line.strip() for line in file.read_text().splitlines() if not line.lstrip().startswith("#")]
    return [line for line in lines if INSTALLS.search(line)]


@pytest.mark.parametrize(
    "file", [ROOT / ".ci/run", ROOT / "Makefile", *WORKFLOWS], ids=lambda file: file.name
)
def test_ci_installs_nothing_from_pypi_without_its_hash(file):
    loose = [line for line in commands(file) if "--require-hashes" not in line and not OWN.search(line)]
    assert loose == []


def test_the_commands_that_install_are_found():
    assert len(commands(ROOT / ".ci/run")) == 2
    assert len(commands(ROOT / "Makefile")) >= 5


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_a_lock_file_names_exact_versions_and_hashes_and_no_registry(lock):
    text = lock.read_text()
    packages = locked(text)
    assert all(each.version and each.hashes and each.parents for each in packages)
    heads = [line for line in text.splitlines() if not line.startswith(" ")]
    assert len(heads) == len(packages), "each line that starts a requirement is one that was understood"
    assert not re.search(r"://|--(extra-)?index-url|--find-links", text)


def test_every_lock_file_is_of_a_group_of_the_project_and_made_by_make_lock():
    recipe = re.search(r"^lock:.*\n((?:\t.+\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)[1]
    groups = re.search(r"for group in (.+); do", recipe)[1].split()
    assert {lock.stem for lock in LOCKS} == {"run", "dev", *groups}


def test_the_same_package_has_one_version_in_every_lock_file():
    of = {lock.name: {(each.name, each.version) for each in locked(lock.read_text())} for lock in LOCKS}
    dev = of["dev.txt"]
    for packages in of.values():
        names = {name for name, _ in packages & dev}
        assert not {each for each in packages - dev if each[0] in names}
    assert of["run.txt"] <= dev


def test_npm_packages_have_hashes():
    packages = json.loads((ROOT / "tests/interop/package-lock.json").read_text())["packages"]
    assert [
        name for name, each in packages.items() if name and not each["integrity"].startswith("sha512-")
    ] == []


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda file: file.name)
def test_an_action_is_named_by_its_commit_and_an_image_by_its_digest(workflow):
    used = re.findall(r"uses: (\S+)", workflow.read_text())
    pinned = (
        r"[\w./-]+@[0-9a-f]{40}|docker://[\w./-]+:[\w.-]+@sha256:[0-9a-f]{64}|\./\.github/workflows/\w+\.yml"
    )
    assert used
    assert [each for each in used if not re.fullmatch(pinned, each)] == []
