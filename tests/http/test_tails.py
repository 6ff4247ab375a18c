"""The live end of a log: the reads of followers, and which followers a page wakes."""

import asyncio

import pytest

from runstead.commands.tail import Page, Tail
from runstead.core.runs.event import Event

NEVER = float("inf")


def event(number, kind="A", private=False):
    return Event(number, kind, b"{}", 0, "caller", private, False, number)


class Log(Tail):
    """A log in memory whose reads the test can delay."""

    def __init__(self):
        super().__init__("log")
        self.events = []
        self.reads = []
        self.open = asyncio.Event()
        self.open.set()

    def append(self, *events):
        self.events += events
        self.set()

    async def read(self, place):
        self.reads.append(place)
        found = [each for each in self.events if each.event_id > place and not each.private]
        await self.open.wait()
        return Page(found, found[-1].event_id if found else place, ended=False)


@pytest.fixture
async def log():
    return Log()


def frame(event):
    return b"%d " % event.event_id


async def settled():
    for _ in range(5):
        await asyncio.sleep(0)


def following(log, *places):
    return [asyncio.ensure_future(log.after(place, NEVER)) for place in places]


async def test_followers_at_the_same_event_share_one_read_and_its_page(log):
    waiting = following(log, *[0] * 200)
    await settled()
    log.append(event(1))
    pages = await asyncio.gather(*waiting)
    assert log.reads == [0, 0]  # when they joined, and at the event
    assert len(set(map(id, pages))) == 1


async def test_an_event_is_encoded_once_for_all_filters():
    encoded = []

    def to_frame(one):
        encoded.append(one.event_id)
        return frame(one)

    page = Page([event(1), event(2, "B"), event(3)], 3, ended=False)
    assert page.frames(to_frame, frozenset()) == b"1 2 3 "
    assert page.frames(to_frame, frozenset("A")) == b"1 3 "
    assert page.frames(to_frame, frozenset("B")) == b"2 "
    assert page.frames(to_frame, frozenset("C")) == b""
    assert page.frames(to_frame, frozenset()) is page.frames(to_frame, frozenset())
    assert encoded == [1, 2, 3]


async def test_an_event_stored_during_a_read_causes_another_read(log):
    log.open.clear()
    (waiting,) = following(log, 0)
    await settled()
    assert log.reads == [0]  # and found nothing
    log.append(event(1))
    log.open.set()
    assert (await waiting).reached == 1
    assert log.reads == [0, 0]


async def test_a_follower_that_joins_after_an_empty_read_costs_no_read(log):
    first = following(log, 0)
    await settled()
    second = following(log, 0)
    await settled()
    assert log.reads == [0]
    log.append(event(1))
    assert {page.reached for page in await asyncio.gather(*first, *second)} == {1}


async def test_a_slow_follower_neither_waits_nor_delays_others(log):
    log.events = [event(1), event(2)]
    tip, behind = following(log, 2, 0)
    assert (await behind).reached == 2
    assert not tip.done()
    log.append(event(3))
    assert (await tip).frames(frame, frozenset()) == b"3 "


async def test_a_heartbeat_wakes_only_followers_that_are_due(log):
    now = asyncio.get_running_loop().time()
    quiet = asyncio.ensure_future(log.after(0, now - 1))
    other = asyncio.ensure_future(log.after(0, now + 60))
    await settled()
    log.wake(now)
    assert await quiet is None
    assert not other.done()
    log.wake()
    assert await other is None


async def test_a_failed_read_fails_its_waiting_followers_only(log):
    log.read, read = broken, log.read
    for waiting in following(log, 0, 0):
        with pytest.raises(OSError, match="no disk"):
            await waiting
    log.read = read
    (waiting,) = following(log, 0)
    await settled()
    log.append(event(1))
    assert (await waiting).reached == 1


async def broken(place):
    raise OSError("no disk")


async def test_followers_that_leave_leave_nothing_behind(log):
    log.open.clear()
    waiting = following(log, 0, 1, 2)
    await settled()
    for each in waiting[:2]:
        each.cancel()
    log.open.set()
    await settled()
    waiting[2].cancel()
    await settled()
    assert log._groups == {}


async def test_polling_finds_events_whose_notification_was_lost(log):
    (waiting,) = following(log, 0)
    await settled()
    log.events.append(event(1))  # without a notification
    log.compare(1)
    assert (await waiting).reached == 1


async def test_polling_without_new_events_costs_no_read(log):
    log.events = [event(1), event(2, private=True)]
    (waiting,) = following(log, 1)
    await settled()
    for _ in range(3):
        log.compare(2)
        await settled()
    assert log.reads == [1, 1]  # the private event advances no follower, and is read once
    waiting.cancel()


async def test_a_log_that_was_deleted_ends(log):
    (waiting,) = following(log, 0)
    await settled()
    log.compare(None)
    assert (await waiting).ended
