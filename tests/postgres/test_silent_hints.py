"""While a replica is alone over its database it sends no hints; whoever joins misses nothing for it.

Nobody looks by itself in these tests (`stream_poll_s`): a wake-up that is lost is a test that does not end.
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
    " WHERE application_name = 'runstead hints' AND datname = current_database()"
)


@pytest.fixture(autouse=True)
def nobody_looks_by_itself(monkeypatch):
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
async def overheard(databases, database):
    """What goes over the channel, heard by somebody who is no replica; `await overheard.all()`: what came so far."""

    class Overheard(list):
        async def all(self):
            await session.execute("SELECT pg_notify($1, 'end')", CHANNEL)
            await eventually(lambda: "end" in self)
            self.remove("end")
            return self

    heard = Overheard()
    session = await asyncpg.connect(databases.server.url(database))
    await session.add_listener(CHANNEL, lambda *told: heard.append(told[-1]))
    yield heard
    await session.close()


async def woken(hint):
    await asyncio.wait_for(hint.wait(), 5)
    hint.clear()


def update(number):
    return Change("run.updated", number, "run-1", None, "running")


async def test_a_replica_that_is_alone_sends_nothing(new, overheard):
    here = new()
    await here.open()
    heard = []
    here.listen("p", heard.append)
    await overheard.all()
    overheard.clear()
    with here.subscribe("a") as hint:
        here.publish(["a"])
        here.publish_changes("p", [update(1)])
        assert hint.is_set()
    assert heard == [[update(1)]]
    assert (here.has_listeners("p"), here.has_listeners("q")) == (True, False)
    assert await overheard.all() == []


async def test_a_replica_that_joins_is_greeted_back_with_a_look_and_hears_all_from_then_on(new, overheard):
    here, there = new(), new()
    await here.open()
    here.publish(["missed"])
    with there.subscribe("missed") as missed, there.subscribe("b") as hint:
        heard = []
        there.listen("p", heard.append)
        await there.open()
        await eventually(lambda: not here._alone)
        await woken(missed)
        here.publish(["b"])
        here.publish_changes("p", [update(1)])
        await eventually(lambda: [update(1)] in heard)
        assert hint.is_set()
        assert None in heard  # lists are to be read again
    lines = [line for message in await overheard.all() for line in message.split("\n")[1:]]
    assert lines[:3] == ["!?", "!?", "!*"]


async def test_a_replica_joins_and_leaves_postgresql_while_hints_are_off(
    replicas, new, event, sql, monkeypatch
):
    """One that is alone writes without a pause while others come, follow its run, and go, decently or not."""
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
        await eventually(lambda: here._alone)
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
    await eventually(lambda: here._alone)


async def test_a_greeting_that_comes_during_the_look_is_not_overlooked(new, monkeypatch):
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
    assert not here._alone
    with there.subscribe("a") as hint:
        here.publish(["a"])
        await woken(hint)


async def test_both_of_two_that_start_at_once_send(new):
    for _ in range(20):
        here, there = new(), new()
        await asyncio.gather(here.open(), there.open())
        with here.subscribe("a") as one, there.subscribe("b") as other:
            await eventually(lambda: not here._alone and not there._alone)  # noqa: B023 - used at once
            there.publish(["a"])
            here.publish(["b"])
            await woken(one)
            await woken(other)
        await here.close()
        await there.close()


async def test_what_is_written_while_a_lone_replica_is_cut_off_is_not_lost_to_one_that_joins_meanwhile(
    new, monkeypatch, sql
):
    here, there = new(), new()
    await here.open()
    assert here._alone
    may_connect = asyncio.Event()
    connect = module.connect

    async def later(url, **settings):
        await may_connect.wait()
        return await connect(url, **settings)

    monkeypatch.setattr(module, "connect", later)
    sql(KILL)
    await eventually(lambda: not here._alone)  # nobody can greet it now
    monkeypatch.setattr(module, "connect", connect)
    with there.subscribe("a") as hint:
        await there.open()
        hint.clear()
        here.publish(["a"])
        may_connect.set()
        await woken(hint)


async def test_one_whose_session_broke_is_greeted_again(new, sql):
    here, there = new(), new()
    await here.open()
    await there.open()
    for _ in range(3):
        sql(KILL)
        with there.subscribe("a") as hint, here.subscribe("b") as other:
            await woken(hint)  # back, or had to look
            await woken(other)
            await eventually(lambda: not here._alone and not there._alone)
            here.publish(["a"])
            there.publish(["b"])
            await woken(hint)
            await woken(other)


async def test_hints_stop_again_when_the_others_have_left(new, overheard, monkeypatch):
    monkeypatch.setattr(limits, "notification_silence_s", 0.01)
    here, there = new(), new()
    await here.open()
    await there.open()
    await eventually(lambda: not here._alone)
    await there.close()
    await eventually(lambda: here._alone)
    await overheard.all()
    overheard.clear()
    here.publish(["a"])
    assert await overheard.all() == []
