"""What `import runstead` loads, and what it exports."""

import subprocess
import sys

import pytest

import runstead
import runstead.sdk


def loaded(statement):
    """Return the modules that a new interpreter has loaded after the statement, and not before."""
    program = f"import sys; before = set(sys.modules); {statement}; print(*(set(sys.modules) - before))"
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    return set(done.stdout.split())


def test_the_package_alone_loads_nothing():
    assert loaded("import runstead") == {"runstead"}


@pytest.mark.parametrize("names", ["Client", "AsyncClient", "RunFailed, RunHandle"])
def test_a_client_loads_neither_the_worker_nor_the_server(names):
    modules = loaded(f"from runstead import {names}")
    folders = {tuple(name.split(".")[1:3]) for name in modules if name.startswith("runstead.")}
    assert {folder[0] for folder in folders} == {"sdk"}
    assert not {("sdk", "worker"), ("sdk", "durable"), ("sdk", "isolation"), ("sdk", "executors")} & folders


def test_an_app_loads_no_server():
    modules = loaded("from runstead import App, Worker, Context")
    assert {name.split(".")[1] for name in modules if name.startswith("runstead.")} == {"sdk"}
    assert not {"pydantic", "attrs", "attr", "sqlite3", "asyncpg"} & modules


@pytest.mark.parametrize("package", [runstead, runstead.sdk])
def test_every_exported_name_exists_and_all_fit_on_a_screen(package):
    assert all(getattr(package, name) is not None for name in package.__all__)
    assert set(package.__all__) <= set(dir(package))
    assert len(package.__all__) <= 30
    with pytest.raises(AttributeError, match="has no attribute 'Clinet'"):
        package.Clinet  # noqa: B018
