"""One server per test file and engine, and drivers that call it."""

import json
import os
import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.server import PROJECT, Server

from . import node
from .driver import Driver

_NOT_FOR_NODE = ("RUNSTEAD_", "VERYFRONT_", "AG_UI_", "NODE_OPTIONS")


@pytest.fixture(scope="session")
def programs(tmp_path_factory):
    """A folder with the drivers and the published packages."""
    try:
        modules = node.modules()
    except node.MissingError as reason:
        if node.required():
            pytest.fail(str(reason))
        pytest.skip(str(reason))
    folder = tmp_path_factory.mktemp("interop")
    shutil.copytree(node.HERE / "drivers", folder / "drivers")
    shutil.copyfile(node.HERE / "package.json", folder / "package.json")
    (folder / "node_modules").symlink_to(modules)
    return folder


def pytest_generate_tests(metafunc):
    """Run on SQLite, and with the mark `long` on PostgreSQL: tests/store proves that the engines are equal.

    `ENGINES` of a file names others.
    """
    if "server" in metafunc.fixturenames:
        both = ("sqlite", pytest.param("postgres", marks=pytest.mark.long))
        engines = getattr(metafunc.module, "ENGINES", both)
        metafunc.parametrize("server", engines, indirect=True, scope="module")


@pytest.fixture(scope="module")
def server(request, tmp_path_factory):
    """A server for the test file. The file may set environment variables in `SETTINGS`."""
    directory = tmp_path_factory.mktemp("server")
    settings = {"RUNSTEAD_SQLITE_SYNCHRONOUS": "OFF"} | getattr(request.module, "SETTINGS", {})
    if request.param == "sqlite":
        with _serving(directory, directory / "runstead.db", settings) as server:
            yield server
    else:
        databases = request.getfixturevalue("databases")
        name = databases.lease()
        with _serving(directory, databases.server.url(name), settings) as server:
            yield server
        databases.give_back(name)


@contextmanager
def _serving(directory, database, settings):
    server = Server(directory, database, **settings)
    server.key = settings.get("RUNSTEAD_BOOTSTRAP_KEY", server.key)
    try:
        yield server.start()
    finally:
        server.kill()


@pytest.fixture(scope="module")
def engine(server):
    """The server's engine."""
    return "sqlite" if isinstance(server.database, Path) else "postgres"


@pytest.fixture(scope="module")
def api(server):
    with server.api() as api:
        yield api


@pytest.fixture(scope="module")
def launch(programs, server, api):
    """Starts a program in the folder of the drivers. Drivers read its arguments as `given`."""
    made = []

    def launch(path, /, **given):
        parameters = {
            "url": server.url,
            "key": server.key,
            "project": PROJECT,
            "projectId": api.project_id(),
            "given": given,
        }
        mine = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_FOR_NODE)}
        settings = mine | {"NO_PROXY": "127.0.0.1", "INTEROP": json.dumps(parameters)}
        made.append(Driver(programs / path, settings))
        return made[-1]

    yield launch
    for driver in made:
        driver.kill()


@pytest.fixture(scope="module")
def start(launch):
    """Starts a driver by its name."""
    return lambda name, /, **given: launch(f"drivers/{name}.mjs", **given)


@pytest.fixture(scope="module")
def drive(start):
    """Runs a driver, and returns the facts that it reports."""
    return lambda name, /, **given: start(name, **given).facts()
