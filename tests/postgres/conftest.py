"""What only this engine can do wrong. `replicas(n)`: stores of one database, each with sessions of its own."""

import asyncio
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from runstead.commands.app import App
from runstead.engines.notifiers.local import LocalNotifier
from runstead.engines.notifiers.nats import NatsNotifier
from runstead.engines.notifiers.postgres import PostgresNotifier
from runstead.engines.postgres import connection, session_limits
from runstead.engines.postgres.store import PostgresStore
from tests.support.store_driver import StoreDriver, event, idempotent, refusal


@pytest.fixture(name="event")
def event_fixture():
    return event


@pytest.fixture(name="idempotent")
def sealed_fixture():
    return idempotent


@pytest.fixture(name="refusal")
def refusal_fixture():
    return refusal


@pytest.fixture
def database(databases):
    """The name of an empty, migrated database."""
    name = databases.lease()
    yield name
    databases.give_back(name)


@pytest.fixture
async def open_driver():
    """open_driver(url): a driver over a store that is open, on the database's clock."""
    stores = []

    async def open_one(url):
        store = PostgresStore(url)
        await store.open()
        stores.append(store)
        return StoreDriver(store, None)

    yield open_one
    for store in stores:
        await store.close()


@pytest.fixture
def replicas(open_driver, databases, database):
    """replicas(n): drivers over n open stores of one database."""

    async def open_some(count):
        url = databases.server.url(database)
        return await asyncio.gather(*(open_driver(url) for _ in range(count)))

    return open_some


@pytest.fixture
def patient(monkeypatch):
    """Stores that wait ten minutes for locks and statements: what does not wait is then known by that it ends.

    Request it before the stores.
    """
    for name in ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout"):
        monkeypatch.setitem(connection._SESSION, name, "600000")
    for name in ("lock_s", "point_statement_s", "scan_statement_s", "report_statement_s", "session_wait_s"):
        monkeypatch.setattr(session_limits, name, 600)


@pytest.fixture
async def driver(replicas):
    return (await replicas(1))[0]


@pytest.fixture
def sql(databases, database):
    """sql(statement): what it gives, from a session beside the store's."""
    return lambda statement: databases.execute(database, statement)


@pytest.fixture
def own_server():
    """A server that a test may stop and start."""
    from tests.support.postgres_server import PostgresServer

    server = PostgresServer(synchronous_commit="on")
    yield server
    server.remove()


@pytest.fixture(scope="session")
def nats_url():
    """A NATS server."""
    program = shutil.which("nats-server", path=Path(sys.executable).parent) or shutil.which("nats-server")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [program, "-a", "127.0.0.1", "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    yield f"nats://127.0.0.1:{port}"
    process.terminate()
    process.wait()


@pytest.fixture(params=["postgres", "nats"])
def new_notifier(request, databases, database):
    """new_notifier(): one that is not open yet; all of a test reach each other."""
    if request.param == "postgres":
        return lambda: PostgresNotifier(databases.server.url(database), LocalNotifier())
    url = request.getfixturevalue("nats_url")
    return lambda: NatsNotifier(url, LocalNotifier())


async def _wait_until_connected(notifiers):
    """Wait until every notifier receives from every other, and no message is pending."""
    pairs = [(here, there) for here in notifiers for there in notifiers if there is not here]
    for here, there in pairs:
        with there.subscribe("hears") as signal:
            async with asyncio.timeout(30):
                while not signal.is_set():
                    here.publish(["hears"])
                    await asyncio.sleep(0.001)
    for number, (here, there) in enumerate(pairs):
        with there.subscribe(f"heard {number}") as signal:
            here.publish([f"heard {number}"])
            await asyncio.wait_for(signal.wait(), 30)


@pytest.fixture
def wait_until_connected():
    """await wait_until_connected(notifiers): until each receives from each other."""
    return _wait_until_connected


@pytest.fixture
async def apps(replicas, new_notifier):
    """apps(n): applications as n replicas run them, over one database."""
    made = []

    async def open_some(count):
        drivers = await replicas(count)
        notifiers = [new_notifier() for _ in drivers]
        await asyncio.gather(*(notifier.open() for notifier in notifiers))
        made.extend(notifiers)
        await _wait_until_connected(made)
        return [
            (driver, App(driver.store, notifier)) for driver, notifier in zip(drivers, notifiers, strict=True)
        ]

    yield open_some
    for notifier in made:
        await notifier.close()
