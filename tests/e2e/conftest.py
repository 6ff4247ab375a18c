"""Servers that never outlive their test."""

import pytest

from tests.support.server import Server


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


@pytest.fixture
def url(databases):
    """Of an empty database of PostgreSQL."""
    name = databases.lease()
    yield databases.server.url(name)
    databases.give_back(name)


@pytest.fixture
def two_servers(url, tmp_path):
    """Two servers over one PostgreSQL that are up, and an API of each."""
    servers = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        servers.append(Server(tmp_path / name, url).start())
    apis = [server.api() for server in servers]
    yield servers, apis
    for api in apis:
        api.__exit__()
    for server in servers:
        server.kill()
