"""Browsers that are signed in, in every store."""

import uuid

from runstead.core import limits
from runstead.core.identity.browser_session import BrowserSession

HOUR = 3_600_000


def session(now, **fields):
    given = {
        "id": str(uuid.uuid4()),
        "sealed": b"\x00sealed",
        "identity": "user:ada",
        "user_agent": "Firefox",
    }
    given |= {"hash": uuid.uuid4().bytes, "created_at": now, "last_seen_at": now, "expires_at": now + HOUR}
    return BrowserSession(**(given | fields))


async def added(store, **fields):
    return await store.browser_sessions.add(lambda now: session(now, **fields))


async def test_a_session_is_read_as_it_was_written_and_found_by_its_hash(store, clock):
    mine = await added(store, hash=b"\x00h", user_agent="Browser „7”")
    assert mine.created_at == clock.now
    assert await store.browser_sessions.by_hash(b"\x00h") == mine
    assert await store.browser_sessions.by_hash(b"h") is None


async def test_an_identity_has_its_own_sessions_newest_first(store):
    first, second = await added(store), await added(store)
    await added(store, identity="user:bob")
    assert await store.browser_sessions.of("user:ada") == [second, first]
    assert await store.browser_sessions.of("user:eve") == []


async def test_a_session_that_has_expired_is_shown_nowhere(store, clock):
    mine = await added(store)
    clock.advance_ms(HOUR - 1)
    assert await store.browser_sessions.by_hash(mine.hash) == mine
    clock.advance_ms(1)
    assert await store.browser_sessions.by_hash(mine.hash) is None
    assert await store.browser_sessions.of("user:ada") == []


async def test_sessions_that_were_seen_say_when(store, clock):
    first, second = await added(store), await added(store)
    clock.advance_ms(5)
    await store.browser_sessions.touch([first.id, str(uuid.uuid4())])
    found = await store.browser_sessions.of("user:ada")
    assert [one.last_seen_at for one in found] == [second.created_at, clock.now]


async def test_only_whoever_has_a_session_removes_it(store):
    mine = await added(store)
    assert not await store.browser_sessions.remove(mine.id, "user:bob")
    assert await store.browser_sessions.remove(mine.id, "user:ada")
    assert not await store.browser_sessions.remove(mine.id, "user:ada")
    assert await store.browser_sessions.by_hash(mine.hash) is None


async def test_all_sessions_of_one_identity_are_removed_at_once(store):
    await added(store)
    await added(store)
    other = await added(store, identity="user:bob")
    assert await store.browser_sessions.remove_all("user:ada") == 2
    assert await store.browser_sessions.remove_all("user:ada") == 0
    assert await store.browser_sessions.of("user:bob") == [other]


async def test_the_oldest_sessions_of_an_identity_end_where_there_are_too_many(store):
    other = await added(store, identity="user:bob")
    made = [await added(store) for _ in range(limits.browser_sessions_max + 2)]
    assert await store.browser_sessions.of("user:ada") == made[:1:-1]
    assert await store.browser_sessions.of("user:bob") == [other]


async def test_sessions_that_have_expired_are_pruned_a_few_at_a_time(store, clock):
    for _ in range(3):
        await added(store)
    clock.advance_ms(HOUR)
    live = await added(store)
    assert await store.browser_sessions.prune(2) == 2
    assert await store.browser_sessions.prune(2) == 1
    assert await store.browser_sessions.prune(2) == 0
    assert await store.browser_sessions.remove_all("user:ada") == 1
    assert live.expires_at > clock.now
