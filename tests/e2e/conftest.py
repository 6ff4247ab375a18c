"""Servers that never outlive their test."""

import pytest

from .server import Server


@pytest.fixture
def new_server(tmp_path):
    """Makes servers that are not started yet; whatever they are at the end of the test, they are gone after it."""
    made = []

    def make(name="runstead.db", *, directory=None, **options):
        folder = tmp_path if directory is None else directory
        made.append(Server(tmp_path, folder / name, **options))
        return made[-1]

    yield make
    for server in made:
        server.kill()


@pytest.fixture
def server(new_server):
    return new_server().start()


@pytest.fixture
def api(server):
    with server.api() as api:
        yield api
