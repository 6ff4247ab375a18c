"""The database user only owns its database. Other tests use a superuser."""

import pytest


@pytest.fixture
def owner(databases):
    """The URL of an empty database, as a user without further rights."""
    server, name = databases.server, databases.fresh()
    databases.execute(name, "CREATE USER plain")
    databases.execute(name, f"ALTER DATABASE {name} OWNER TO plain")
    databases.execute(name, "DROP SCHEMA public CASCADE")
    databases.execute(name, "CREATE SCHEMA public AUTHORIZATION plain")
    return server.url(name).replace("postgres@", "plain@")


async def test_a_user_that_only_owns_its_database_runs_the_store(owner, open_driver):
    driver = await open_driver(owner)
    await driver.create("run-1")
    sizes = await driver.store.sizes()
    stats = await driver.store.integrity.stats()
    assert (sizes.wal, stats.log_bytes, stats.runs) == (None, None, {"pending": 1})
    assert 0 < sizes.database <= stats.bytes
    assert (await driver.store.check())["engine"] == "postgres"
