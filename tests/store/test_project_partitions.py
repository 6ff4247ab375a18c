"""The core tests of the store, on a schema whose tables are partitioned by project_id: see docs/distribution.md."""

import re
from pathlib import Path

import asyncpg
import pytest

from runstead.core.conversations.conversation import Conversation, StoredMessage
from runstead.engines.postgres.store import PostgresStore
from tests.store.test_apply import *  # noqa: F403
from tests.store.test_batches import *  # noqa: F403
from tests.store.test_families import *  # noqa: F403
from tests.store.test_schedules import *  # noqa: F403
from tests.store.test_webhooks import *  # noqa: F403
from tests.support.postgres_server import Databases, LeasedStore
from tests.support.project_partitions import PARTITIONS, WHOLE, partition, unique_keys
from tests.support.store_driver import StoreDriver


class PartitionedDatabases(Databases):
    """Databases of the same server, with a template of their own."""

    template = "template_partitioned"

    async def _make_template(self):
        await super()._make_template()
        connection = await asyncpg.connect(self.server.url(self.template))
        self.changed = await partition(connection)
        await connection.close()


@pytest.fixture(scope="module")
def partitioned(databases):
    made = PartitionedDatabases(databases.server)
    yield made
    made.close()


@pytest.fixture(params=["partitioned"])
def engine(request):
    return request.param


@pytest.fixture
def new_store(partitioned):
    return lambda clock: LeasedStore(partitioned, clock)


@pytest.fixture
async def fresh(partitioned, clock):
    """A driver over a database that no test has used: rows of several partitions have the same ctid."""
    store = PostgresStore(partitioned.server.url(partitioned.fresh()), clock)
    await store.open()
    yield StoreDriver(store, clock)
    await store.close()


async def test_rows_at_the_same_place_of_their_partitions_are_not_confused(fresh):
    driver = fresh
    projects = [f"{number:08}-1111-4111-8111-111111111111" for number in range(4 * PARTITIONS)]
    made = {project: await driver.create("run-1", project_id=project) for project in projects}
    places = [row[0] for row in await driver.store._readers.rows("SELECT ctid FROM runs")]
    assert len(set(places)) < len(places)
    [claimed] = await driver.claim("ann", project_id=projects[0])
    assert claimed.seq == made[projects[0]].seq
    for project in projects[1:]:
        assert await driver.runs.get(driver.key("run-1", project)) == made[project]
    for project in projects:
        made[project] = Conversation(project, project, "chat", 1, 1)
        await driver.store.conversations.create(made[project])
    message = StoredMessage("m-0", projects[0], "user", 0, 0, parts=b"[]")
    await driver.store.conversations.add_message(message)
    for project in projects[1:]:
        assert (await driver.store.conversations.get(project)).message_count == 0


async def test_the_page_lists_every_table_with_its_unique_keys(partitioned, databases):
    page = (Path(__file__).parents[2] / "docs/distribution.md").read_text()
    listed = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", page, re.MULTILINE))
    connection = await asyncpg.connect(databases.server.url(databases.template))
    keys = await unique_keys(connection)
    await connection.close()
    expected = {
        table: ", ".join(f"`({', '.join(key)})`" for key in found) or "none" for table, found in keys.items()
    }
    for table in partitioned.changed:
        without = [key for key in keys[table] if "project_id" not in key]
        expected[table] = ", ".join(f"`({', '.join(key)})`" for key in without) or "none"
    assert listed == expected | WHOLE
