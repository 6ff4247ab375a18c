"""Servers that end with their test."""

import pytest

from tests.support.server import Server


@pytest.fixture
def new_server(tmp_path):
    """Creates servers that are not started. They are killed at the end of the test."""
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


@pytest.fixture
def url(databases):
    """The URL of an empty PostgreSQL database."""
    name = databases.lease()
    yield databases.server.url(name)
    databases.give_back(name)


@pytest.fixture
def new_two_servers(url, tmp_path):
    """new_two_servers(): two running servers over one PostgreSQL, and a client of each. Once in a test."""
    servers, apis = [], []

    def make(**options):
        for name in ("first", "second"):
            (tmp_path / name).mkdir()
            servers.append(Server(tmp_path / name, url, **options).start())
        apis.extend(server.api() for server in servers)
        return servers, apis

    yield make
    for api in apis:
        api.__exit__()
    for server in servers:
        server.kill()


@pytest.fixture
def two_servers(new_two_servers):
    return new_two_servers()
