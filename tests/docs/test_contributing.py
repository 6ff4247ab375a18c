"""CONTRIBUTING.md, GitHub's files and pre-commit name what exists, and CI covers what the package declares."""

import re
import shlex
import subprocess
import sys
import tomllib

import pytest
import yaml

from .pages import ROOT, section, text

PAGE = "CONTRIBUTING.md"
TITLES = re.findall(r"^## (How to .+)$", text(PAGE), re.MULTILINE)
OF_THE_EXAMPLE = {"How to add a noun", "How to add a route", "How to add a migration"}
PROJECT = tomllib.loads(text("pyproject.toml"))["project"]
CI = yaml.safe_load(text(".github/workflows/ci.yml"))
RELEASE = yaml.safe_load(text(".github/workflows/release.yml"))


def steps(title):
    """The numbered steps of a list, each as its code spans: paths and names."""
    items = re.split(r"^\d+\. ", section(PAGE, f"## {title}"), flags=re.MULTILINE)[1:]
    return [re.findall(r"`([^`]+)`", item) for item in items]


def files(span, *, example):
    """Files and folders that a path of a step stands for."""
    if example:
        span = span.replace("<noun>", "price").replace("<nouns>", "prices").replace("<domain>", "usage")
    return sorted(ROOT.glob(re.sub(r"<\w+>", "*", span.rstrip("/").replace("NNNN", "[0-9]" * 4))))


def is_path(span):
    return " " not in span and ("/" in span or span.endswith(".md"))


def test_the_page_has_a_list_for_what_contributors_add_most():
    wanted = {f"How to add a {what}" for what in ("noun", "route", "migration", "page", "setting")}
    assert wanted <= set(TITLES)
    assert all(steps(title) for title in TITLES)


@pytest.mark.parametrize("title", TITLES)
def test_every_file_of_a_list_exists(title):
    paths = [span for spans in steps(title) for span in spans if is_path(span)]
    assert paths
    missing = [path for path in paths if not files(path, example=title in OF_THE_EXAMPLE)]
    assert missing == []


@pytest.mark.parametrize("title", TITLES)
def test_every_name_of_a_step_is_in_a_file_of_that_step(title):
    for spans in steps(title):
        named = [file for span in spans if is_path(span) for file in files(span, example=False)]
        found = [each for file in named for each in (file.rglob("*.py") if file.is_dir() else [file])]
        words = {word for file in found for word in re.findall(r"\w+", file.read_text())}
        assert {span for span in spans if re.fullmatch(r"[A-Za-z_]+", span)} <= words


def test_pre_commit_runs_the_commands_of_make_lint():
    recipe = re.search(r"^lint:.*\n((?:\t.+\n)+)", text("Makefile"), re.MULTILINE)[1]
    commands = [line.strip().replace("$(BIN)", ".venv/bin") for line in recipe.splitlines()]
    (repository,) = yaml.safe_load(text(".pre-commit-config.yaml"))["repos"]
    assert [hook["entry"] for hook in repository["hooks"]] == commands
    assert not any(hook["pass_filenames"] for hook in repository["hooks"])


def test_pre_commit_accepts_its_configuration():
    subprocess.run(
        [sys.executable, "-m", "pre_commit", "validate-config", ".pre-commit-config.yaml"],
        cwd=ROOT,
        check=True,
    )


def test_lint_checks_every_file_of_github():
    checked = {word for word in shlex.split(text(".pre-commit-config.yaml"), comments=True) if "/" in word}
    forms = list((ROOT / ".github").rglob("*.yml"))
    assert {str(file.relative_to(ROOT)) for file in forms} <= checked


def test_ci_runs_on_every_python_that_the_package_declares():
    declared = re.findall(r"Python :: (3\.\d+)", " ".join(PROJECT["classifiers"]))
    assert CI["jobs"]["linux"]["strategy"]["matrix"]["python"] == declared
    assert CI["jobs"]["macos"]["strategy"]["matrix"]["python"] == [declared[0], declared[-1]]
    assert PROJECT["requires-python"] == f">={declared[0]}"


def test_ci_runs_files_that_exist_and_macos_leaves_out_what_reads_proc():
    words = CI["jobs"]["macos"]["env"]["TESTS"].split()
    left_out = {word.removeprefix("--ignore=") for word in words if word.startswith("--ignore=")}
    folders = [word for word in words if not word.startswith("--")]
    assert all((ROOT / path).exists() for path in [*folders, *left_out])
    of_linux = {
        str(file.relative_to(ROOT))
        for folder in folders
        for file in (ROOT / folder).rglob("*.py")
        if "/proc/" in file.read_text()
    }
    assert left_out == of_linux
    assert {"run": ".ci/run"} in CI["jobs"]["linux"]["steps"]


@pytest.mark.parametrize("workflow", [CI, RELEASE], ids=["ci", "release"])
def test_a_job_waits_for_jobs_that_exist_and_has_permissions_of_its_own(workflow):
    assert workflow["permissions"] == {}
    for job in workflow["jobs"].values():
        assert job.get("needs", "test") in {*RELEASE["jobs"]}
        assert job["permissions"]


def test_only_two_jobs_of_a_release_may_sign_and_neither_runs_code_of_the_tree():
    signing = {name: job for name, job in RELEASE["jobs"].items() if "id-token" in job["permissions"]}
    assert signing.keys() == {"provenance", "publish"}
    assert not any(
        "run" in step or "checkout" in step["uses"] for job in signing.values() for step in job["steps"]
    )
