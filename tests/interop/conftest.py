"""One server per file of tests, and drivers that know where it is."""

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from . import node
from .driver import Driver

sys.path.append(str(Path(__file__).parents[1]))

from e2e.server import PROJECT, Server


@pytest.fixture(scope="session")
def programs(tmp_path_factory):
    """A folder with the drivers, where node finds the published packages."""
    try:
        modules = node.modules()
    except node.MissingError as reason:
        if node.required():
            pytest.fail(str(reason))
        pytest.skip(str(reason))
    folder = tmp_path_factory.mktemp("interop")
    shutil.copytree(node.HERE / "drivers", folder / "drivers")
    (folder / "node_modules").symlink_to(modules)
    return folder


@pytest.fixture(scope="module")
def server(programs, tmp_path_factory):
    directory = tmp_path_factory.mktemp("server")
    server = Server(directory, directory / "runstead.db").start()
    yield server
    server.kill()


@pytest.fixture(scope="module")
def api(server):
    with server.api() as api:
        yield api


@pytest.fixture(scope="module")
def start(programs, server, api):
    """Starts a driver, by its name, with arguments that it reads as `given`."""
    made = []

    def start(name, /, **given):
        kept = {
            key: value for key, value in os.environ.items() if not key.startswith(("RUNSTEAD_", "VERYFRONT_"))
        }
        told = {
            "url": server.url,
            "key": server.key,
            "project": PROJECT,
            "projectId": api.project_id(),
            "given": given,
        }
        settings = kept | {"NO_PROXY": "127.0.0.1", "INTEROP": json.dumps(told)}
        made.append(Driver(programs / "drivers" / f"{name}.mjs", settings))
        return made[-1]

    yield start
    for driver in made:
        driver.kill()


@pytest.fixture(scope="module")
def drive(start):
    """Runs a driver to its end: what it found."""
    return lambda name, /, **given: start(name, **given).facts()
