"""The published clients are those of the lock file, from any registry."""

import json

import pytest

from . import node


@pytest.fixture
def lock():
    return json.loads((node.HERE / "package-lock.json").read_text())


def test_the_clients_have_exact_versions(lock):
    manifest = json.loads((node.HERE / "package.json").read_text())
    wanted = manifest["dependencies"]
    assert wanted.keys() == {"veryfront", "@ag-ui/client", "@ag-ui/core"}
    for name, version in {**wanted, **manifest["devDependencies"]}.items():
        assert lock["packages"][f"node_modules/{name}"]["version"] == version


def test_the_lock_holds_every_package_by_its_hash_and_names_no_registry(lock):
    packages = {name: package for name, package in lock["packages"].items() if name}
    assert all(package["integrity"].startswith("sha512-") for package in packages.values())
    assert not [name for name, package in packages.items() if "resolved" in package]


def test_a_machine_without_node_is_told_so(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(node.MissingError, match="need node, which this machine does not have"):
        node.modules()


def test_an_old_node_is_told_so(tmp_path, monkeypatch):
    for program in ("node", "npm"):
        (tmp_path / program).write_text("#!/bin/sh\necho v18.20.0\n")
        (tmp_path / program).chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(node.MissingError, match=r"node 20 or newer, and this is v18\.20\.0"):
        node.modules()


@pytest.mark.parametrize("name", ["CI", "RUNSTEAD_REQUIRE_NODE"])
def test_where_node_is_required_its_absence_is_a_failure(monkeypatch, name):
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.delenv("RUNSTEAD_REQUIRE_NODE", raising=False)
    assert not node.required()
    monkeypatch.setenv(name, "false")
    assert not node.required()
    monkeypatch.setenv(name, "1")
    assert node.required()


@pytest.fixture
def npm(tmp_path, monkeypatch):
    """A fake npm: it ends as the test sets it, and records every call."""
    cache, bin_ = tmp_path / "cache", tmp_path / "bin"
    bin_.mkdir()

    def make(ending):
        (bin_ / "node").write_text("#!/bin/sh\necho v20.0.0\n")
        (bin_ / "npm").write_text(f"#!/bin/sh\necho call >>{tmp_path}/calls\n{ending}\n")
        for program in bin_.iterdir():
            program.chmod(0o700)
        return lambda: (tmp_path / "calls").read_text().count("call")

    monkeypatch.setenv("PATH", f"{bin_}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    return make


def test_the_clients_are_installed_once_per_lock(npm):
    calls = npm("mkdir node_modules")
    assert node.modules() == node.modules()
    assert node.modules().is_dir()
    assert calls() == 1


def test_an_unreachable_registry_is_told_so_and_leaves_nothing_behind(npm, tmp_path):
    npm("echo 'npm error code ENOTFOUND' >&2; exit 1")
    with pytest.raises(node.MissingError, match="the npm registry cannot be reached: ENOTFOUND"):
        node.modules()
    assert [
        path for path in (tmp_path / "cache").rglob("*") if path.suffix != ".lock" and path.is_file()
    ] == []


def test_a_package_that_is_not_the_locked_one_is_a_failure(npm):
    npm("echo 'npm error code EINTEGRITY' >&2; exit 1")
    with pytest.raises(AssertionError, match="EINTEGRITY"):
        node.modules()
