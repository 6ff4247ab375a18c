"""Notifications between replicas, by LISTEN and NOTIFY or over NATS. A lost one only delays."""

import asyncio

import pytest

from runstead.core import limits
from runstead.core.change import Change
from runstead.engines.notifiers.local import LocalNotifier
from runstead.engines.notifiers.nats import NatsNotifier
from runstead.engines.notifiers.postgres import PostgresNotifier
from runstead.engines.notifiers.relay import Relay

LISTENERS = "SELECT pid FROM pg_stat_activity WHERE application_name = 'runstead notifications' AND datname = current_database()"


@pytest.fixture
async def notifiers(new_notifier, wait_until_connected):
    """notifiers(n): open ones."""
    made = []

    async def open_some(count):
        some = [new_notifier() for _ in range(count)]
        made.extend(some)
        await asyncio.gather(*(notifier.open() for notifier in some))
        await wait_until_connected(some)
        return some

    yield open_some
    for notifier in made:
        await notifier.close()


async def woken(signal, seconds=5):
    await asyncio.wait_for(signal.wait(), seconds)
    signal.clear()


async def test_a_notification_reaches_every_replica(notifiers):
    here, there, everywhere = await notifiers(3)
    with here.subscribe("a") as own, there.subscribe("a") as one, everywhere.subscribe("a") as other:
        here.publish(["a"])
        assert own.is_set()  # at once
        await woken(one)
        await woken(other)


async def test_only_the_key_is_woken(notifiers):
    here, there = await notifiers(2)
    with there.subscribe("a") as signal, there.subscribe("b") as other:
        here.publish(["b"])
        await woken(other)
        assert not signal.is_set()


async def test_a_thousand_notifications_share_a_few_messages(notifiers, monkeypatch):
    here, there = await notifiers(2)
    messages = []
    receive = there._receive
    monkeypatch.setattr(there, "_receive", lambda message: messages.append(message) or receive(message))
    with there.subscribe("run:999") as signal:
        for n in range(1_000):
            here.publish([f"run:{n}"])
        await woken(signal)
    messages = [message for message in messages if message.startswith(here._name)]
    assert len(messages) <= 2
    assert sum(message.count("\n") for message in messages) == 1_000


async def test_keys_that_need_several_messages_all_arrive(notifiers):
    here, there = await notifiers(2)
    with (
        there.subscribe("queue:" + "é" * 300 + "0") as first,
        there.subscribe("queue:" + "é" * 300 + "99") as last,
    ):
        here.publish(["queue:" + "é" * 300 + str(n) for n in range(100)])
        await woken(first)
        await woken(last)


async def test_a_replica_ignores_its_own_messages(notifiers):
    here, there = await notifiers(2)
    with here.subscribe("a") as own, there.subscribe("a") as other, here.subscribe("b") as after:
        here.publish(["a"])
        own.clear()
        await woken(other)
        there.publish(["b"])
        await woken(after)  # everything sent before it has arrived by now
        assert not own.is_set()


def number(logged):
    return b"%d " % logged.event_id


async def test_followers_of_one_replica_see_at_once_what_another_appends(apps, event, monkeypatch):
    monkeypatch.setattr(limits, "stream_poll_s", 600)
    monkeypatch.setattr(limits, "stream_tick_s", 600)
    (here, _), (there, app) = await apps(2)
    publisher = (await apps(1))[0][1]
    run = await here.create("run-1")
    seen, came = [], asyncio.Event()

    async def follow():
        async for frames in app.followers.follow(await there.row("run-1"), 0, number):
            seen.extend(map(int, (frames or b"").split()))
            came.set()

    following = asyncio.ensure_future(follow())
    for n in range(1, 21):
        publisher.publish(await here.append(run.run_id, event(n=n)))
        while len(seen) < n:
            came.clear()
            await asyncio.wait_for(came.wait(), 30)
    publisher.publish(await here.complete(run.run_id))
    await asyncio.wait_for(following, 30)
    assert seen == list(range(1, 22))


async def test_a_lost_notification_delays_events_and_loses_none(apps, event, monkeypatch):
    monkeypatch.setattr(limits, "stream_poll_s", 0.05)
    monkeypatch.setattr(limits, "stream_tick_s", 0.05)
    (here, _), (there, app) = await apps(2)
    monkeypatch.setattr(app.notifier, "_receive", lambda _: None)
    run = await here.create("run-1")

    async def follow():
        return [
            int(event_id)
            async for frames in app.followers.follow(await there.row("run-1"), 0, number)
            for event_id in (frames or b"").split()
        ]

    following = asyncio.ensure_future(follow())
    for n in range(5):
        await here.append(run.run_id, event(n=n))
    await here.complete(run.run_id)
    assert await asyncio.wait_for(following, 30) == [1, 2, 3, 4, 5, 6]


async def test_a_listener_reconnects_and_wakes_all_subscribers(databases, database, sql):
    here, there = (PostgresNotifier(databases.server.url(database), LocalNotifier()) for _ in range(2))
    await here.open()
    await there.open()
    with there.subscribe("a") as signal:
        for _ in range(3):
            sql(LISTENERS.replace("pid", "pg_terminate_backend(pid)", 1))
            await woken(signal)  # a notification may have been missed
            here.publish(["a"])
            await woken(signal)
    await here.close()
    await there.close()
    async with asyncio.timeout(30):
        while sql(LISTENERS):  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.001)


def change(number, run_id=None, kind="run.updated"):
    return Change(kind, number, run_id or f"run-{number}", None, "running")


class Listener:
    """A listener of a project that records its changes."""

    def __init__(self, notifier, project_id="p"):
        self.received = []
        self._came = asyncio.Event()
        notifier.listen(project_id, self._receive)

    def _receive(self, changes):
        self.received += [None] if changes is None else changes
        self._came.set()

    async def until(self, last):
        async with asyncio.timeout(30):
            while last not in self.received:
                self._came.clear()
                await self._came.wait()
        return self.received


async def test_changes_of_a_project_reach_every_replica_once_and_in_order(notifiers):
    here, there = await notifiers(2)
    own, other, elsewhere = Listener(here), Listener(there), Listener(there, "q")
    changes = [change(n) for n in range(1_000)]
    for each in changes:
        here.publish_changes("p", [each])
    assert own.received == changes  # at once
    assert await other.until(changes[-1]) == changes
    there.publish_changes("p", [change(1_000), change(1_001)])
    assert await own.until(change(1_001)) == [*changes, change(1_000), change(1_001)]
    assert elsewhere.received == []


async def test_a_removed_listener_receives_nothing(notifiers):
    here, there = await notifiers(2)
    received, stays = [], Listener(there)
    there.listen("p", received.append)
    there.unlisten("p", received.append)
    there.unlisten("never", received.append)
    here.publish_changes("p", [change(1)])
    await stays.until(change(1))
    assert received == []


async def test_an_outdated_update_is_dropped_but_creation_and_completion_are_not(notifiers):
    here, there = await notifiers(2)
    listener = Listener(there)
    there.publish_changes("p", [change(5, "a", "run.completed")])
    for each in (change(3, "a"), change(1, "a", "run.created"), change(5, "a"), change(2, "b")):
        here.publish_changes("p", [each])
    received = await listener.until(change(2, "b"))
    assert [(each.type, each.at) for each in received if each.run_id == "a"] == [
        ("run.completed", 5),
        ("run.created", 1),
        ("run.updated", 5),
    ]


async def test_followers_of_a_project_at_another_replica_receive_changes(apps):
    (here, publisher), (_, app) = await apps(2)
    run = await here.create("run-1")
    following = app.notifications.follow(run.project_id)
    await anext(following)
    publisher.publish(await here.cancel("run-1"))
    async with asyncio.timeout(30):
        page = await anext(following)
    assert [(each.change.type, each.change.run_id) for each in page.changes] == [("run.completed", "run-1")]
    await following.aclose()


async def test_a_replica_that_reconnects_asks_its_listeners_to_resync(
    databases, database, sql, wait_until_connected
):
    here, there = (PostgresNotifier(databases.server.url(database), LocalNotifier()) for _ in range(2))
    await here.open()
    await there.open()
    listener = Listener(there)
    sql(LISTENERS.replace("pid", "pg_terminate_backend(pid)", 1))
    await listener.until(None)
    # A replica that reconnects alone sends nothing until it receives the greeting of another one.
    await wait_until_connected([here, there])
    here.publish_changes("p", [change(1)])
    await listener.until(change(1))
    await here.close()
    await there.close()


class Carrier(Relay):
    """A carrier that can be switched off."""

    carrier = "test"

    def __init__(self):
        super().__init__(LocalNotifier())
        self.works = asyncio.Event()
        self.sent = []
        self.failed = asyncio.Event()
        self.on_its_way = lambda: None

    async def open_now(self):
        self.works.set()
        await self.open()

    async def _connect_and_send(self):
        await self.works.wait()
        self._on_connected()

        async def send(message):
            if not self.works.is_set():
                self._on_disconnected()
                self.failed.set()
                raise ConnectionResetError
            self.sent.append(message.split("\n")[1:])
            self.on_its_way()

        await self._send(send, self.works.wait)


async def sent(carrier, count):
    async with asyncio.timeout(30):
        while len(carrier.sent) < count:  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.001)


async def test_keys_are_kept_up_to_a_limit_while_the_carrier_is_down(monkeypatch):
    monkeypatch.setattr(limits, "connect_s", 0)
    monkeypatch.setattr(limits, "notifications_kept_max", 3)
    carrier = Carrier()
    await carrier.open()
    with carrier.subscribe("2") as signal:
        for n in range(5):
            carrier.publish([str(n)])
        assert signal.is_set()
    carrier.works.set()
    await sent(carrier, 1)
    assert carrier.sent == [["0", "1", "2"]]
    await carrier.close()


async def test_keys_that_were_not_sent_when_the_connection_broke_are_sent_later():
    carrier = Carrier()
    await carrier.open_now()
    carrier.works.clear()
    with carrier.subscribe("b") as signal:
        carrier.publish(["a"])
        await carrier.failed.wait()
        carrier.works.set()
        await sent(carrier, 1)
        await woken(signal)  # a reconnected replica wakes its subscribers
    assert carrier.sent == [["a"]]
    await carrier.close()


async def test_a_key_published_while_it_is_being_sent_is_sent_again():
    carrier = Carrier()
    await carrier.open_now()
    carrier.on_its_way = lambda: carrier.publish(["a"]) if len(carrier.sent) < 3 else None
    carrier.publish(["a"])
    await sent(carrier, 3)
    assert carrier.sent == [["a"]] * 3
    await carrier.close()


async def test_an_unreachable_carrier_does_not_delay_the_start(monkeypatch):
    monkeypatch.setattr(limits, "connect_s", 0.05)
    for notifier in (
        NatsNotifier("nats://127.0.0.1:1", LocalNotifier()),
        PostgresNotifier("postgresql://x@127.0.0.1:1/x", LocalNotifier()),
    ):
        await asyncio.wait_for(notifier.open(), 30)
        with notifier.subscribe("a") as signal:
            notifier.publish(["a"])
            assert signal.is_set()
        await asyncio.wait_for(notifier.close(), 30)


async def test_changes_over_the_limit_are_replaced_by_a_resync(monkeypatch):
    monkeypatch.setattr(limits, "connect_s", 0)
    monkeypatch.setattr(limits, "notifications_kept_max", 3)
    carrier, other = Carrier(), Carrier()
    await carrier.open()
    mine, theirs = Listener(carrier), Listener(other)
    for n in range(5):
        carrier.publish_changes("p", [change(n)])
    assert mine.received == [change(n) for n in range(5)]
    carrier.works.set()
    await sent(carrier, 1)
    other._receive("\n".join(["someone", *carrier.sent[0]]))
    assert theirs.received == [None, change(3), change(4)]
    await carrier.close()


async def test_a_message_that_may_not_have_arrived_becomes_a_resync_and_is_not_sent_twice():
    carrier, other = Carrier(), Carrier()
    await carrier.open_now()
    carrier.works.clear()
    theirs = Listener(other)
    carrier.publish_changes("p", [change(1)])
    await carrier.failed.wait()
    carrier.publish_changes("p", [change(2)])
    carrier.works.set()
    await sent(carrier, 1)
    other._receive("\n".join(["someone", *carrier.sent[0]]))
    assert theirs.received == [None, change(2)]
    await carrier.close()


async def test_changes_sent_over_a_connection_that_breaks_later_become_a_resync():
    carrier, other = Carrier(), Carrier()
    await carrier.open_now()
    theirs = Listener(other)
    carrier.publish_changes("p", [change(1)])
    await sent(carrier, 1)
    carrier._on_disconnected()
    async with asyncio.timeout(30):
        while len(carrier.sent) < 2:
            carrier.publish(["a"])
            await asyncio.sleep(0.01)
    for message in carrier.sent[1:]:
        other._receive("\n".join(["someone", *message]))
    assert None in theirs.received
    await carrier.close()


async def test_a_change_too_large_for_a_message_becomes_a_resync(notifiers, monkeypatch):
    here, there = await notifiers(2)
    listener = Listener(there)
    here.publish_changes("p", [change(1, "é" * limits.notification_payload_bytes_max)])
    here.publish_changes("p", [change(2)])
    assert await listener.until(change(2)) == [None, change(2)]
