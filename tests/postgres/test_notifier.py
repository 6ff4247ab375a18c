"""Hints between replicas, by LISTEN and NOTIFY or over NATS: quick where they arrive, and never needed."""

import asyncio
import time

import pytest

from runstead.core import limits
from runstead.core.change import Change
from runstead.engines.notifiers.local import LocalNotifier
from runstead.engines.notifiers.nats import NatsNotifier
from runstead.engines.notifiers.postgres import PostgresNotifier
from runstead.engines.notifiers.relay import Relay

LISTENERS = "SELECT pid FROM pg_stat_activity WHERE application_name = 'runstead hints' AND datname = current_database()"


@pytest.fixture
async def notifiers(new_notifier, acquainted):
    """notifiers(n): open ones."""
    made = []

    async def open_some(count):
        some = [new_notifier() for _ in range(count)]
        made.extend(some)
        await asyncio.gather(*(notifier.open() for notifier in some))
        await acquainted(some)
        return some

    yield open_some
    for notifier in made:
        await notifier.close()


async def woken(hint, seconds=5):
    await asyncio.wait_for(hint.wait(), seconds)
    hint.clear()


async def test_a_hint_reaches_every_replica(notifiers):
    here, there, everywhere = await notifiers(3)
    with here.subscribe("a") as own, there.subscribe("a") as one, everywhere.subscribe("a") as other:
        here.publish(["a"])
        assert own.is_set()  # at once
        await woken(one)
        await woken(other)


async def test_only_the_key_is_woken(notifiers):
    here, there = await notifiers(2)
    with there.subscribe("a") as hint, there.subscribe("b") as other:
        here.publish(["b"])
        await woken(other)
        assert not hint.is_set()


async def test_a_thousand_hints_are_a_few_messages(notifiers, monkeypatch):
    here, there = await notifiers(2)
    messages = []
    hear = there._hear
    monkeypatch.setattr(there, "_hear", lambda message: messages.append(message) or hear(message))
    with there.subscribe("run:999") as hint:
        for n in range(1_000):
            here.publish([f"run:{n}"])
        await woken(hint)
    messages = [message for message in messages if message.startswith(here._name)]
    assert len(messages) <= 2
    assert sum(message.count("\n") for message in messages) == 1_000


async def test_keys_that_fill_more_than_a_message_all_arrive(notifiers):
    here, there = await notifiers(2)
    with (
        there.subscribe("queue:" + "é" * 300 + "0") as first,
        there.subscribe("queue:" + "é" * 300 + "99") as last,
    ):
        here.publish(["queue:" + "é" * 300 + str(n) for n in range(100)])
        await woken(first)
        await woken(last)


async def test_ones_own_hints_do_not_come_back(notifiers):
    here, there = await notifiers(2)
    with here.subscribe("a") as own, there.subscribe("a") as other, here.subscribe("b") as after:
        here.publish(["a"])
        own.clear()
        await woken(other)
        there.publish(["b"])
        await woken(after)  # whatever was sent before it has come by now
        assert not own.is_set()


def number(logged):
    return b"%d " % logged.event_id


async def test_followers_of_one_replica_see_what_another_appends_within_100_ms(apps, event):
    (here, _), (there, app) = await apps(2)
    publisher = (await apps(1))[0][1]
    run = await here.create("run-1")
    seen, came = [], asyncio.Event()

    async def follow():
        async for frames in app.followers.follow(await there.row("run-1"), 0, number):
            seen.extend((int(told), time.perf_counter()) for told in (frames or b"").split())
            came.set()

    following = asyncio.ensure_future(follow())
    took = []
    for n in range(1, 21):
        publisher.publish(await here.append(run.run_id, event(n=n)))
        began = time.perf_counter()
        while len(seen) < n:
            came.clear()
            await asyncio.wait_for(came.wait(), 5)
        took.append(seen[n - 1][1] - began)
    publisher.publish(await here.complete(run.run_id))
    await asyncio.wait_for(following, 5)
    assert [event_id for event_id, _ in seen] == list(range(1, 22))
    assert sorted(took)[len(took) // 2] < 0.1, took


async def test_a_lost_hint_delays_and_loses_nothing(apps, event, monkeypatch):
    monkeypatch.setattr(limits, "stream_poll_s", 0.05)
    monkeypatch.setattr(limits, "stream_tick_s", 0.05)
    (here, _), (there, app) = await apps(2)
    monkeypatch.setattr(app.notifier, "_hear", lambda _: None)
    run = await here.create("run-1")

    async def follow():
        return [
            int(told)
            async for frames in app.followers.follow(await there.row("run-1"), 0, number)
            for told in (frames or b"").split()
        ]

    following = asyncio.ensure_future(follow())
    for n in range(5):
        await here.append(run.run_id, event(n=n))
    await here.complete(run.run_id)
    assert await asyncio.wait_for(following, 10) == [1, 2, 3, 4, 5, 6]


async def test_a_listener_that_was_cut_off_comes_back_and_has_everybody_look(databases, database, sql):
    here, there = (PostgresNotifier(databases.server.url(database), LocalNotifier()) for _ in range(2))
    await here.open()
    await there.open()
    with there.subscribe("a") as hint:
        for _ in range(3):
            sql(LISTENERS.replace("pid", "pg_terminate_backend(pid)", 1))
            await woken(hint)  # since something may have been missed
            here.publish(["a"])
            await woken(hint)
    await here.close()
    await there.close()
    async with asyncio.timeout(5):
        while sql(LISTENERS):  # noqa: ASYNC110 - of what is waited for, nothing tells
            await asyncio.sleep(0.001)


def told(number, run_id=None, kind="run.updated"):
    return Change(kind, number, run_id or f"run-{number}", None, "running")


class Listening:
    """What a listener of the project was given, one after the other."""

    def __init__(self, notifier, project_id="p"):
        self.heard = []
        self._came = asyncio.Event()
        notifier.listen(project_id, self._hear)

    def _hear(self, hints):
        self.heard += [None] if hints is None else hints
        self._came.set()

    async def until(self, last):
        async with asyncio.timeout(5):
            while last not in self.heard:
                self._came.clear()
                await self._came.wait()
        return self.heard


async def test_hints_about_a_project_reach_every_replica_once_and_in_order(notifiers):
    here, there = await notifiers(2)
    own, other, elsewhere = Listening(here), Listening(there), Listening(there, "q")
    hints = [told(n) for n in range(1_000)]
    for hint in hints:
        here.publish_changes("p", [hint])
    assert own.heard == hints  # at once
    assert await other.until(hints[-1]) == hints
    there.publish_changes("p", [told(1_000), told(1_001)])
    assert await own.until(told(1_001)) == [*hints, told(1_000), told(1_001)]
    assert elsewhere.heard == []


async def test_nobody_who_has_left_hears_anything(notifiers):
    here, there = await notifiers(2)
    heard, stays = [], Listening(there)
    there.listen("p", heard.append)
    there.unlisten("p", heard.append)
    there.unlisten("never", heard.append)
    here.publish_changes("p", [told(1)])
    await stays.until(told(1))
    assert heard == []


async def test_an_old_update_that_comes_late_is_left_out_and_ends_and_beginnings_are_not(notifiers):
    here, there = await notifiers(2)
    listening = Listening(there)
    there.publish_changes("p", [told(5, "a", "run.completed")])
    for hint in (told(3, "a"), told(1, "a", "run.created"), told(5, "a"), told(2, "b")):
        here.publish_changes("p", [hint])
    heard = await listening.until(told(2, "b"))
    assert [(hint.type, hint.at) for hint in heard if hint.run_id == "a"] == [
        ("run.completed", 5),
        ("run.created", 1),
        ("run.updated", 5),
    ]


async def test_what_one_replica_writes_is_told_to_those_who_follow_the_project_at_another(apps):
    (here, publisher), (_, app) = await apps(2)
    run = await here.create("run-1")
    following = app.notifications.follow(run.project_id)
    await anext(following)
    publisher.publish(await here.cancel("run-1"))
    async with asyncio.timeout(5):
        page = await anext(following)
    assert [(each.change.type, each.change.run_id) for each in page.changes] == [("run.completed", "run-1")]
    await following.aclose()


async def test_a_replica_that_was_cut_off_tells_its_listeners_that_hints_may_be_missing(
    databases, database, sql
):
    here, there = (PostgresNotifier(databases.server.url(database), LocalNotifier()) for _ in range(2))
    await here.open()
    await there.open()
    listening = Listening(there)
    sql(LISTENERS.replace("pid", "pg_terminate_backend(pid)", 1))
    await listening.until(None)
    here.publish_changes("p", [told(1)])
    await listening.until(told(1))
    await here.close()
    await there.close()


class Carrier(Relay):
    """One that can be switched off."""

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

    async def _carry(self):
        await self.works.wait()
        self._joined()

        async def send(message):
            if not self.works.is_set():
                self._lose()
                self.failed.set()
                raise ConnectionResetError
            self.sent.append(message.split("\n")[1:])
            self.on_its_way()

        await self._send(send, self.works.wait)


async def sent(carrier, count):
    async with asyncio.timeout(5):
        while len(carrier.sent) < count:  # noqa: ASYNC110 - of what is waited for, nothing tells
            await asyncio.sleep(0.001)


async def test_hints_of_the_time_without_a_carrier_are_kept_up_to_a_limit(monkeypatch):
    monkeypatch.setattr(limits, "connect_s", 0)
    monkeypatch.setattr(limits, "notifications_kept_max", 3)
    carrier = Carrier()
    await carrier.open()
    with carrier.subscribe("2") as hint:
        for n in range(5):
            carrier.publish([str(n)])
        assert hint.is_set()
    carrier.works.set()
    await sent(carrier, 1)
    assert carrier.sent == [["0", "1", "2"]]
    await carrier.close()


async def test_what_was_not_sent_when_the_carrier_was_lost_is_sent_later():
    carrier = Carrier()
    await carrier.open_now()
    carrier.works.clear()
    with carrier.subscribe("b") as hint:
        carrier.publish(["a"])
        await carrier.failed.wait()
        carrier.works.set()
        await sent(carrier, 1)
        await woken(hint)  # whoever is back looks
    assert carrier.sent == [["a"]]
    await carrier.close()


async def test_a_hint_that_comes_while_the_same_one_is_on_its_way_is_sent_too():
    carrier = Carrier()
    await carrier.open_now()
    carrier.on_its_way = lambda: carrier.publish(["a"]) if len(carrier.sent) < 3 else None
    carrier.publish(["a"])
    await sent(carrier, 3)
    assert carrier.sent == [["a"]] * 3
    await carrier.close()


async def test_a_carrier_that_is_not_there_holds_up_no_start(monkeypatch):
    monkeypatch.setattr(limits, "connect_s", 0.05)
    for notifier in (
        NatsNotifier("nats://127.0.0.1:1", LocalNotifier()),
        PostgresNotifier("postgresql://x@127.0.0.1:1/x", LocalNotifier()),
    ):
        await asyncio.wait_for(notifier.open(), 3)
        with notifier.subscribe("a") as hint:
            notifier.publish(["a"])
            assert hint.is_set()
        await asyncio.wait_for(notifier.close(), 3)


async def test_hints_that_find_no_room_are_told_as_lost(monkeypatch):
    monkeypatch.setattr(limits, "connect_s", 0)
    monkeypatch.setattr(limits, "notifications_kept_max", 3)
    carrier, other = Carrier(), Carrier()
    await carrier.open()
    mine, theirs = Listening(carrier), Listening(other)
    for n in range(5):
        carrier.publish_changes("p", [told(n)])
    assert mine.heard == [told(n) for n in range(5)]
    carrier.works.set()
    await sent(carrier, 1)
    other._hear("\n".join(["someone", *carrier.sent[0]]))
    assert theirs.heard == [None, told(3), told(4)]
    await carrier.close()


async def test_a_message_that_may_not_have_arrived_is_told_as_lost_and_not_sent_twice():
    carrier, other = Carrier(), Carrier()
    await carrier.open_now()
    carrier.works.clear()
    theirs = Listening(other)
    carrier.publish_changes("p", [told(1)])
    await carrier.failed.wait()
    carrier.publish_changes("p", [told(2)])
    carrier.works.set()
    await sent(carrier, 1)
    other._hear("\n".join(["someone", *carrier.sent[0]]))
    assert theirs.heard == [None, told(2)]
    await carrier.close()


async def test_hints_sent_over_a_connection_that_is_lost_later_are_told_as_lost():
    carrier, other = Carrier(), Carrier()
    await carrier.open_now()
    theirs = Listening(other)
    carrier.publish_changes("p", [told(1)])
    await sent(carrier, 1)
    carrier._lose()
    async with asyncio.timeout(5):
        while len(carrier.sent) < 2:
            carrier.publish(["a"])
            await asyncio.sleep(0.01)
    for message in carrier.sent[1:]:
        other._hear("\n".join(["someone", *message]))
    assert None in theirs.heard
    await carrier.close()


async def test_a_hint_that_fits_in_no_message_is_told_as_lost(notifiers, monkeypatch):
    here, there = await notifiers(2)
    listening = Listening(there)
    here.publish_changes("p", [told(1, "é" * limits.notification_payload_bytes_max)])
    here.publish_changes("p", [told(2)])
    assert await listening.until(told(2)) == [None, told(2)]
