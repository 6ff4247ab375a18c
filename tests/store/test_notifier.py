"""Notifications wake the subscribers of a key, and no subscription is kept after its end."""

import asyncio

import pytest

from runstead.engines.notifiers.local import LocalNotifier
from runstead.ports.notifier import queue_key, run_key


@pytest.fixture
async def notifier():
    return LocalNotifier()


async def test_a_subscriber_is_woken(notifier):
    with notifier.subscribe(run_key(1)) as signal:
        waiting = asyncio.ensure_future(signal.wait())
        await asyncio.sleep(0)
        notifier.publish([run_key(1)])
        assert await asyncio.wait_for(waiting, 30)


async def test_only_subscribers_of_the_key_are_woken(notifier):
    with notifier.subscribe(run_key(1)) as mine, notifier.subscribe(queue_key("1")) as other:
        notifier.publish([run_key(1), run_key(2)])
        assert mine.is_set()
        assert not other.is_set()


async def test_every_subscriber_of_a_key_is_woken(notifier):
    with notifier.subscribe("a") as first, notifier.subscribe("a") as second:
        notifier.publish(["a"])
        assert first.is_set()
        assert second.is_set()


async def test_many_notifications_wake_once_and_a_cleared_event_waits_for_the_next(notifier):
    with notifier.subscribe("a") as signal:
        notifier.publish(["a", "a"])
        notifier.publish(["a"])
        signal.clear()
        assert not signal.is_set()
        notifier.publish(["a"])
        assert signal.is_set()


async def test_a_notification_before_the_subscription_is_not_kept(notifier):
    notifier.publish(["a"])
    with notifier.subscribe("a") as signal:
        assert not signal.is_set()


async def test_a_notification_without_subscribers_is_accepted(notifier):
    notifier.publish([])
    notifier.publish(["unused"])
    with notifier.subscribe("a"):
        notifier.publish(key for key in ("unused", "a"))


async def test_nothing_is_kept_for_those_who_left(notifier):
    for n in range(1_000):
        with notifier.subscribe(run_key(n % 3)):
            notifier.publish([run_key(n)])
    assert len(notifier) == 0
    assert notifier._subscribers == {}


async def test_one_who_leaves_does_not_take_others_along(notifier):
    with notifier.subscribe("a") as stays:
        with notifier.subscribe("a") as leaves:
            pass
        notifier.publish(["a"])
        assert stays.is_set()
        assert not leaves.is_set()
    assert len(notifier) == 0


async def test_a_cancelled_subscriber_leaves(notifier):
    async def follow():
        with notifier.subscribe("a") as signal:
            await signal.wait()

    task = asyncio.ensure_future(follow())
    await asyncio.sleep(0)
    assert len(notifier) == 1
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert len(notifier) == 0


async def test_publishing_wakes_hundreds(notifier):
    woken = []

    async def follow(n):
        with notifier.subscribe("a") as signal:
            await signal.wait()
            woken.append(n)

    followers = [asyncio.ensure_future(follow(n)) for n in range(500)]
    await asyncio.sleep(0)
    notifier.publish(["a"])
    await asyncio.gather(*followers)
    assert len(woken) == 500
    assert len(notifier) == 0


async def test_the_end_wakes_every_subscriber(notifier):
    with notifier.subscribe("a") as first, notifier.subscribe("b") as second:
        notifier.wake_all()
        assert first.is_set()
        assert second.is_set()


async def test_a_listener_gets_every_change_of_its_project_in_order(notifier):
    heard = []
    assert not notifier.has_listeners("a")
    notifier.listen("a", heard.append)
    assert notifier.has_listeners("a")
    notifier.publish_changes("a", [1, 2])
    notifier.publish_changes("b", [3])
    notifier.publish_changes("a", [4])
    assert heard == [[1, 2], [4]]


async def test_listeners_come_and_go_without_the_others(notifier):
    stays, leaves = [], []
    notifier.listen("a", stays.append)
    notifier.listen("a", leaves.append)
    notifier.unlisten("a", leaves.append)
    notifier.publish_changes("a", [1])
    notifier.unlisten("a", print)
    notifier.unlisten("a", stays.append)
    notifier.unlisten("never", stays.append)
    notifier.publish_changes("a", [2])
    assert (stays, leaves) == ([[1]], [])
    assert not notifier.has_listeners("a")
    assert notifier._listeners == {}
