"""Changes of a project: those that a write publishes, in every store, and how they are kept, merged and resumed."""

import asyncio
from contextlib import aclosing

import pytest

from runstead.commands.app import App
from runstead.commands.notifications import ChangeBuffer, Notifications
from runstead.core import limits
from runstead.core.change import Change
from runstead.core.conversations.conversation import Conversation
from runstead.engines.notifiers.local import LocalNotifier

PROJECT = "11111111-1111-4111-8111-111111111111"


def new_change(kind, run_id="r", status="running"):
    return Change(f"run.{kind}", 1, run_id, None, status)


class Listening:
    """An application that records the changes of the project."""

    def __init__(self, store):
        self.heard = []
        self.app = App(store, LocalNotifier())
        self.app.notifier.listen(PROJECT, self.heard.extend)

    def received(self):
        received = [(each.type.removeprefix("run."), each.run_id, each.status) for each in self.heard]
        self.heard.clear()
        return received

    def publish(self, written):
        self.app.publish(written)
        return self.received()


@pytest.fixture
async def listening(store):
    return Listening(store)


# The changes of a write


async def test_every_status_of_a_run_is_published(driver, listening, clock):
    listen = listening.publish
    await driver.create("a")  # by the driver, which publishes nothing
    (claimed,) = await driver.claim()
    listening.app.publish_runs([claimed])
    assert listening.received() == [("updated", "a", "running")]
    assert listen(await driver.wait("a")) == [("updated", "a", "waiting")]
    assert listen(await driver.resume("a")) == [("updated", "a", "running")]
    clock.advance_ms(5)
    assert listen(await driver.release("a")) == [("updated", "a", "pending")]
    assert listen(await driver.complete("a")) == [("completed", "a", "completed")]


async def test_a_creation_is_published_once(driver, listening):
    def create():
        new = driver.new_run("a")

        def decide(loaded):
            from runstead.core.runs import transitions
            from runstead.core.runs.transition import Transition

            if loaded.run is not None:
                return Transition(loaded.run, duplicate=True)
            return transitions.create(new, now=1, parent=None, family_cancelled=False, message=None)

        return driver.runs.apply(driver.key("a"), decide)

    assert listening.publish(await create()) == [("created", "a", "pending")]
    assert listening.publish(await create()) == []


async def test_a_command_without_a_write_publishes_nothing(driver, listening):
    await driver.create("a")
    await driver.complete("a")
    assert listening.publish(await driver.complete("a")) == []
    assert listening.publish(await driver.complete("a", "failed")) == []
    assert listening.publish(await driver.cancel("a")) == []


async def test_events_and_renewals_publish_nothing_until_the_status_changes(driver, listening, event, clock):
    await driver.create("a")
    started = await driver.append("a", event("RUN_STARTED"))
    assert listening.publish(started) == [("updated", "a", "running")]
    assert listening.publish(await driver.append("a", event(), event())) == []
    await driver.create("b")
    await driver.claim()
    clock.advance_ms(100)
    assert listening.publish(await driver.renew("b", worker="worker")) == []


async def test_every_run_of_a_cancelled_family_is_published(driver, listening):
    await driver.create("root")
    await driver.create("child", parent="root")
    await driver.create("done", parent="root")
    await driver.complete("done")
    received = listening.publish(await driver.cancel("root"))
    assert received == [("completed", "root", "cancelled"), ("completed", "child", "cancelled")]


async def test_changes_by_deadlines_are_published(driver, listening, clock):
    await driver.create("a", backoff_limit=0)
    await driver.create("b")
    await driver.claim(lease_ms=5_000, limit=2)
    clock.advance_ms(5_001)
    received = [listening.publish(written) for written in await driver.enforce_deadlines()]
    assert sorted(received) == [[("completed", "a", "failed")], [("updated", "b", "pending")]]


async def test_the_release_of_a_cancelled_run_is_published_after_its_end(driver, listening, clock):
    await driver.create("a")
    await driver.claim(lease_ms=5_000)
    assert listening.publish(await driver.cancel("a")) == [("completed", "a", "cancelled")]
    clock.advance_ms(5_001)
    assert [listening.publish(w) for w in await driver.enforce_deadlines()] == [
        [("updated", "a", "cancelled")]
    ]


async def test_changes_of_a_conversation_are_published(listening):
    listening.app.publish_conversation(Conversation("c", PROJECT, "chat", 1, 2))
    (received,) = listening.heard
    assert received == Change("conversation.updated", 2, None, "c", "active")


async def test_without_listeners_no_change_is_built(store, driver, monkeypatch):
    from runstead.commands import changes

    monkeypatch.delattr(changes, "of_written")
    monkeypatch.delattr(changes, "of_runs")
    app = App(store, LocalNotifier())
    app.notifier.listen("another project", print)
    await driver.create("a")
    app.publish(await driver.complete("a"))
    app.publish_runs([await driver.row("a")])


# The buffer


def numbers(buffer, after):
    return [(number, each.type.removeprefix("run."), each.run_id) for number, each in buffer.after(after)]


def test_a_ring_gives_what_came_after_a_number():
    buffer = ChangeBuffer(8)
    buffer.add([new_change("created", "a"), new_change("created", "b")])
    buffer.add([new_change("completed", "a")])
    assert numbers(buffer, 0) == [(1, "created", "a"), (2, "created", "b"), (3, "completed", "a")]
    assert numbers(buffer, 2) == [(3, "completed", "a")]
    assert numbers(buffer, 3) == []


def test_updates_of_a_run_are_merged_and_its_beginning_and_end_are_not():
    buffer = ChangeBuffer(16)
    buffer.add(
        [
            new_change("created"),
            new_change("updated"),
            new_change("updated", "other"),
            new_change("updated", status="waiting"),
        ]
    )
    assert numbers(buffer, 0) == [(1, "created", "r"), (3, "updated", "other"), (4, "updated", "r")]
    assert buffer.after(0)[-1][1].status == "waiting"
    buffer.add([new_change("completed")])
    assert numbers(buffer, 0) == [(1, "created", "r"), (3, "updated", "other"), (5, "completed", "r")]
    buffer.add([new_change("updated")])
    assert numbers(buffer, 0)[-2:] == [(5, "completed", "r"), (6, "updated", "r")]


def test_a_ring_holds_no_more_than_its_size():
    buffer = ChangeBuffer(4)
    buffer.add([new_change("created", str(n)) for n in range(10)])
    assert (buffer.floor, buffer.latest) == (6, 10)
    assert [number for number, _ in buffer.after(buffer.floor)] == [7, 8, 9, 10]
    buffer.add([new_change("created", str(n)) for n in range(100)])
    assert len(buffer._slots) == 4


def test_a_cursor_is_known_only_to_its_ring():
    buffer, other = ChangeBuffer(4), ChangeBuffer(4)
    buffer.add([new_change("created")])
    assert buffer.position(buffer.cursor(1)) == 1
    assert buffer.position(buffer.cursor(0)) == 0
    for cursor in (
        other.cursor(0),
        buffer.cursor(2),
        buffer.epoch,
        f"{buffer.epoch}-",
        f"{buffer.epoch}--1",
        "none",
        "-1",
    ):
        assert buffer.position(cursor) == -1, cursor
    for number in ("٣", "1.0", " 1", "1" * 17, "1" * 5_000):
        assert buffer.position(f"{buffer.epoch}-{number}") == -1


def test_lost_changes_invalidate_every_cursor():
    buffer = ChangeBuffer(4)
    buffer.add([new_change("created")])
    buffer.add(None)
    assert buffer.floor == buffer.latest == 2
    buffer.add([new_change("completed")])
    assert numbers(buffer, buffer.floor) == [(3, "completed", "r")]


# Following


class Follower:
    """A follower, and what it has received: (type, run_id)."""

    def __init__(self, notifications, cursor=None):
        self.cursor, self.received = cursor, []
        self._pages = notifications.follow(PROJECT, cursor)

    async def opened(self):
        first = await anext(self._pages)
        assert first.changes == ()
        self.cursor = first.cursor or self.cursor
        return self

    async def next(self):
        """The changes of the next page."""
        async with asyncio.timeout(30):
            page = await anext(self._pages)
        received = [(each.change.type.removeprefix("run."), each.change.run_id) for each in page.changes]
        self.received += received
        self.cursor = page.changes[-1].cursor if page.changes else page.cursor
        return received

    async def leave(self):
        await self._pages.aclose()


@pytest.fixture
async def notifier():
    return LocalNotifier()


@pytest.fixture
async def notifications(notifier, monkeypatch):
    monkeypatch.setattr(limits, "change_interval_s", 0)
    return Notifications(notifier, asyncio.Event())


async def test_a_follower_receives_changes_from_now_on(notifier, notifications):
    follower = await Follower(notifications).opened()
    notifier.publish_changes(PROJECT, [new_change("created")])
    notifier.publish_changes("another", [new_change("created", "foreign")])
    assert await follower.next() == [("created", "r")]
    waiting = asyncio.ensure_future(follower.next())
    await asyncio.sleep(0)
    notifier.publish_changes(PROJECT, [new_change("completed")])
    assert await waiting == [("completed", "r")]
    await follower.leave()


async def test_one_that_comes_back_goes_on_where_it_left(notifier, notifications):
    follower = await Follower(notifications).opened()
    cursor = follower.cursor
    await follower.leave()
    notifier.publish_changes(PROJECT, [new_change("created"), new_change("completed")])
    again = await Follower(notifications, cursor).opened()
    assert await again.next() == [("created", "r"), ("completed", "r")]
    await again.leave()
    within = await Follower(notifications, cursor[:-1] + "1").opened()
    assert await within.next() == [("completed", "r")]
    await within.leave()


@pytest.mark.parametrize("cursor", ["none", "0000000000000000-0", "", "x" * 64])
async def test_an_unknown_cursor_gets_one_resync(notifier, notifications, cursor):
    follower = await Follower(notifications, cursor).opened()
    assert await follower.next() == [("resync", None)]
    notifier.publish_changes(PROJECT, [new_change("created")])
    assert await follower.next() == [("created", "r")]
    await follower.leave()


async def test_the_cursor_of_a_resync_is_good(notifier, notifications):
    follower = await Follower(notifications, "none").opened()
    await follower.next()
    await follower.leave()
    notifier.publish_changes(PROJECT, [new_change("created")])
    again = await Follower(notifications, follower.cursor).opened()
    assert await again.next() == [("created", "r")]
    await again.leave()


async def test_a_slow_follower_falls_out_of_the_ring_and_reads_again(notifier, notifications, monkeypatch):
    monkeypatch.setattr(limits, "changes_per_project_max", 8)
    follower = await Follower(notifications).opened()
    notifier.publish_changes(PROJECT, [new_change("created", str(n)) for n in range(9)])
    assert await follower.next() == [("resync", None)]
    notifier.publish_changes(PROJECT, [new_change("completed", "8")])
    assert await follower.next() == [("completed", "8")]
    await follower.leave()


async def test_lost_changes_are_a_resync_for_every_follower(notifier, notifications):
    followers = [await Follower(notifications).opened() for _ in range(3)]
    notifier.publish_changes(PROJECT, [new_change("created")])
    await followers[0].next()
    for listener in notifier._listeners[PROJECT]:
        listener(None)
    assert [await follower.next() for follower in followers] == [[("resync", None)]] * 3
    for follower in followers:
        await follower.leave()


async def test_quick_updates_are_sent_together(notifier, notifications, monkeypatch):
    monkeypatch.setattr(limits, "change_interval_s", 0.05)
    follower = await Follower(notifications).opened()
    for _ in range(3):
        notifier.publish_changes(PROJECT, [new_change("updated")])
    assert await follower.next() == [("updated", "r")]
    waiting = asyncio.ensure_future(follower.next())
    for _ in range(20):  # all of them within the interval that has just begun
        notifier.publish_changes(PROJECT, [new_change("updated", status="waiting")])
    await asyncio.sleep(0)
    assert not waiting.done()
    assert await waiting == [("updated", "r")]
    await follower.leave()


async def test_a_quiet_project_gives_signs_of_life(notifications, monkeypatch):
    monkeypatch.setattr(limits, "stream_heartbeat_s", 0.01)
    follower = await Follower(notifications).opened()
    cursor = follower.cursor
    assert [await follower.next() for _ in range(3)] == [[], [], []]
    assert follower.cursor == cursor
    await follower.leave()


async def test_followers_end_when_the_server_stops(notifier):
    stopping = asyncio.Event()
    notifications = Notifications(notifier, stopping)

    async def follow():
        async with aclosing(notifications.follow(PROJECT)) as pages:
            return [page async for page in pages]

    tasks = [asyncio.ensure_future(follow()) for _ in range(5)]
    await asyncio.sleep(0)
    stopping.set()
    notifications.wake()
    async with asyncio.timeout(30):
        assert [len(found) for found in await asyncio.gather(*tasks)] == [1] * 5


async def test_changes_are_kept_for_a_while_and_then_dropped(notifier, notifications, monkeypatch):
    monkeypatch.setattr(limits, "changes_idle_s", 0.02)
    follower = await Follower(notifications).opened()
    await follower.leave()
    assert notifier.has_listeners(PROJECT)
    async with asyncio.timeout(30):
        while notifier.has_listeners(PROJECT):  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.005)
    assert notifications._buffers == {}
    again = await Follower(notifications, follower.cursor).opened()
    assert await again.next() == [("resync", None)]
    await again.leave()


async def test_one_who_comes_back_in_time_keeps_the_ring(notifier, notifications, monkeypatch):
    monkeypatch.setattr(limits, "changes_idle_s", 0)
    first = await Follower(notifications).opened()
    await first.leave()
    second = await Follower(notifications, first.cursor).opened()
    for _ in range(3):
        await asyncio.sleep(0.005)  # the timer that the first one left behind runs out
    notifier.publish_changes(PROJECT, [new_change("created")])
    assert await second.next() == [("created", "r")]
    await second.leave()


async def test_the_number_of_kept_projects_without_followers_is_bounded(notifier, notifications, monkeypatch):
    monkeypatch.setattr(limits, "changes_idle_projects_max", 3)
    for number in range(10):
        async with aclosing(notifications.follow(f"project-{number}")) as pages:
            await anext(pages)
    assert len(notifications._buffers) == 3
    assert notifier.has_listeners("project-9")
    assert not notifier.has_listeners("project-0")


async def test_a_follower_that_is_cancelled_leaves(notifications):
    async def follow():
        async with aclosing(notifications.follow(PROJECT)) as pages:
            async for _ in pages:
                pass

    task = asyncio.ensure_future(follow())
    await asyncio.sleep(0)
    (buffer,) = notifications._buffers.values()
    assert buffer.followers == 1
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert buffer.followers == 0
