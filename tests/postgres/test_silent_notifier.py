"""The only replica of a database sends no notifications. A replica that joins misses nothing.

These tests disable polling (`stream_poll_s`): a lost notification makes a test time out.
"""

import asyncio
from types import SimpleNamespace

import asyncpg
import pytest

from runstead.commands.app import App
from runstead.core import limits
from runstead.core.change import Change
from runstead.engines.notifiers import postgres as module
from runstead.engines.notifiers.local import LocalNotifier
from runstead.engines.notifiers.postgres import CHANNEL, PostgresNotifier
from tests.support.until import eventually

KILL = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE application_name = 'runstead notifications' AND datname = current_database()"
)


@pytest.fixture(autouse=True)
def no_polling(monkeypatch):
    monkeypatch.setattr(limits, "stream_poll_s", 3600)


@pytest.fixture
async def new(databases, database):
    """new(): a notifier that is not open yet."""
    made = []

    def one():
        made.append(PostgresNotifier(databases.server.url(database), LocalNotifier()))
        return made[-1]

    yield one
    for notifier in made:
        await notifier.close()


@pytest.fixture
async def channel(databases, database):
    """The messages on the channel, as another session receives them. `await channel.all()`: all messages so far."""

    class Messages(list):
        async def all(self):
            await session.execute("SELECT pg_notify($1, 'end')", CHANNEL)
            await eventually(lambda: "end" in self)
            self.remove("end")
            return self

    received = Messages()
    session = await asyncpg.connect(databases.server.url(database))
    await session.add_listener(CHANNEL, lambda *args: received.append(args[-1]))
    yield received
    await session.close()


async def woken(signal):
    await asyncio.wait_for(signal.wait(), 30)
    signal.clear()


def update(number):
    return Change("run.updated", number, "run-1", None, "running")


async def test_the_only_replica_sends_nothing(new, channel):
    here = new()
    await here.open()
    received = []
    here.listen("p", received.append)
    await channel.all()
    channel.clear()
    with here.subscribe("a") as signal:
        here.publish(["a"])
        here.publish_changes("p", [update(1)])
        assert signal.is_set()
    assert received == [[update(1)]]
    assert (here.has_listeners("p"), here.has_listeners("q")) == (True, False)
    assert await channel.all() == []


async def test_a_replica_that_joins_is_greeted_and_resynced_and_then_receives_all(new, channel):
    here, there = new(), new()
    await here.open()
    here.publish(["missed"])
    with there.subscribe("missed") as missed, there.subscribe("b") as signal:
        received = []
        there.listen("p", received.append)
        await there.open()
        await eventually(lambda: not here._only_replica)
        await woken(missed)
        here.publish(["b"])
        here.publish_changes("p", [update(1)])
        await eventually(lambda: [update(1)] in received)
        assert signal.is_set()
        assert None in received  # lists are to be read again
    lines = [line for message in await channel.all() for line in message.split("\n")[1:]]
    assert lines[:3] == ["!?", "!?", "!*"]


async def test_replicas_join_and_leave_while_another_writes(replicas, new, event, sql, monkeypatch):
    """A replica writes without a pause while others join, follow its run and leave, with and without a crash."""
    monkeypatch.setattr(limits, "notification_silence_s", 0.01)
    writer, *readers = await replicas(9)
    here, joined, counts = new(), asyncio.Event(), SimpleNamespace(written=0, seen=0)
    await here.open()
    alone = App(writer.store, here)
    run = await writer.create("run-1")

    async def write():
        alone.publish(await writer.append(run.run_id, event(n=counts.written)))
        counts.written += 1

    async def write_on():
        while not joined.is_set():
            await write()

    async def follow(app, reader):
        run = await reader.row("run-1")
        async for frames in app.followers.follow(run, 0, lambda one: b"%d " % one.event_id):
            counts.seen = int((frames or b"0").split()[-1])

    for turn, reader in enumerate(readers):
        await eventually(lambda: here._only_replica)
        joined.clear()
        counts.seen = 0
        writing = asyncio.ensure_future(write_on())
        there = new()
        following = asyncio.ensure_future(follow(App(reader.store, there), reader))
        for _ in range(turn):  # each joins at another moment of a write
            await asyncio.sleep(0)
        await there.open()
        joined.set()
        await writing
        await eventually(lambda: counts.seen == counts.written)
        await write()
        await eventually(lambda: counts.seen == counts.written)
        following.cancel()
        if turn % 2:
            sql(KILL)  # both lose their sessions, and find each other again
        await there.close()
    await eventually(lambda: here._only_replica)


async def test_a_greeting_during_the_check_for_listeners_counts(new, monkeypatch):
    here, there = new(), new()
    fetchval = asyncpg.Connection.fetchval
    answered, go_on = asyncio.Event(), asyncio.Event()

    async def slow(self, query, *arguments, **options):
        found = await fetchval(self, query, *arguments, **options)
        if query == module._OTHERS and not answered.is_set():
            assert found == 0
            answered.set()
            await go_on.wait()
        return found

    monkeypatch.setattr(asyncpg.Connection, "fetchval", slow)
    opening = asyncio.ensure_future(here.open())
    await answered.wait()
    await there.open()
    await eventually(lambda: here._greetings)
    go_on.set()
    await opening
    assert not here._only_replica
    with there.subscribe("a") as signal:
        here.publish(["a"])
        await woken(signal)


async def test_two_replicas_that_start_at_once_both_send(new):
    for _ in range(20):
        here, there = new(), new()
        await asyncio.gather(here.open(), there.open())
        with here.subscribe("a") as one, there.subscribe("b") as other:
            await eventually(lambda: not here._only_replica and not there._only_replica)  # noqa: B023 - used at once
            there.publish(["a"])
            here.publish(["b"])
            await woken(one)
            await woken(other)
        await here.close()
        await there.close()


async def test_a_replica_that_joins_while_the_only_one_is_disconnected_misses_nothing(new, monkeypatch, sql):
    here, there = new(), new()
    await here.open()
    assert here._only_replica
    may_connect = asyncio.Event()
    connect = module.connect

    async def later(url, **settings):
        await may_connect.wait()
        return await connect(url, **settings)

    monkeypatch.setattr(module, "connect", later)
    sql(KILL)
    await eventually(lambda: not here._only_replica)  # no greeting can reach it now
    monkeypatch.setattr(module, "connect", connect)
    with there.subscribe("a") as signal:
        await there.open()
        signal.clear()
        here.publish(["a"])
        may_connect.set()
        await woken(signal)


async def test_a_replica_that_lost_its_session_is_greeted_again(new, sql):
    here, there = new(), new()
    await here.open()
    await there.open()
    for _ in range(3):
        sql(KILL)
        with there.subscribe("a") as signal, here.subscribe("b") as other:
            await woken(signal)  # reconnected, or resynced
            await woken(other)
            await eventually(lambda: not here._only_replica and not there._only_replica)
            here.publish(["a"])
            there.publish(["b"])
            await woken(signal)
            await woken(other)


async def test_notifications_stop_when_the_other_replicas_have_left(new, channel, monkeypatch):
    monkeypatch.setattr(limits, "notification_silence_s", 0.01)
    here, there = new(), new()
    await here.open()
    await there.open()
    await eventually(lambda: not here._only_replica)
    await there.close()
    await eventually(lambda: here._only_replica)
    await channel.all()
    channel.clear()
    here.publish(["a"])
    assert await channel.all() == []
