"""Workers, their tokens and their sessions."""

import asyncio

import pytest

from runstead.core import limits
from runstead.core.identity.project import Project
from runstead.core.queue.worker import Session, Worker


def worker(**fields):
    given = {"id": "w-1", "project_id": "p-1", "implementation_kind": "python", "worker_key": "k-1"}
    given |= {"created_at": 1, "updated_at": 1, "display_name": "Ann", "metadata": b'{"a":1}'}
    return Worker(**(given | fields))


def session(**fields):
    given = {"id": "s-1", "run_id": "run-1", "implementation_kind": "python", "worker_id": "w-1"}
    given |= {"session_key": "first", "status": "active", "created_at": 0, "updated_at": 0}
    return Session(**(given | fields))


@pytest.fixture
async def workers(store):
    for name in ("p-1", "p-2"):
        await store.identity.create_project(Project(name, name, name, 1), None, None)
    return store.workers


@pytest.fixture
async def run(driver):
    return await driver.create("run-1")


async def test_a_worker_is_stored_and_found_by_id_and_token(workers, clock):
    stored = await workers.register(worker(last_heartbeat_at=2), b"token")
    assert stored == worker(last_heartbeat_at=clock.now)
    assert await workers.get("w-1") == stored
    assert (await workers.by_token(b"token")).id == "w-1"
    assert await workers.get("w-9") is None
    assert await workers.by_token(b"other") is None


async def test_registering_again_keeps_the_worker_and_updates_it(workers):
    await workers.register(worker(), b"one")
    again = await workers.register(worker(id="w-2", created_at=9, updated_at=9, display_name="Bob"), b"two")
    assert (again.id, again.created_at, again.updated_at, again.display_name) == ("w-1", 1, 9, "Bob")
    assert await workers.get("w-1") == again
    assert await workers.get("w-2") is None


async def test_an_earlier_token_stays_good(workers):
    await workers.register(worker(), b"one")
    await workers.register(worker(id="w-2"), b"two")
    assert (await workers.by_token(b"one")).id == (await workers.by_token(b"two")).id == "w-1"


@pytest.mark.parametrize(
    "other", [{"project_id": "p-2"}, {"implementation_kind": "node"}, {"worker_key": "k-2"}]
)
async def test_another_project_kind_or_key_is_another_worker(workers, other):
    await workers.register(worker(), b"one")
    second = await workers.register(worker(id="w-2", **other), b"two")
    assert second.id == "w-2"
    assert (await workers.by_token(b"one")).id == "w-1"


DAY = limits.worker_token_s * 1000


async def test_a_token_has_an_issuer_and_expires_a_day_after_the_last_heartbeat(workers, clock):
    await workers.register(worker(), b"one", issuer="api_key:k-1")
    token = await workers.by_token(b"one")
    assert (token.issuer, token.expires_at) == ("api_key:k-1", clock.now + DAY)
    clock.advance(limits.worker_token_renewal_s - 1)
    await workers.heartbeat("w-1")  # the stored expiry is recent
    assert (await workers.by_token(b"one")).expires_at == token.expires_at
    clock.advance(2)
    await workers.touch(["w-1", "w-9"])
    assert (await workers.by_token(b"one")).expires_at == clock.now + DAY
    clock.advance(DAY // 1000 - 1)
    await workers.heartbeat("w-1")
    assert (await workers.by_token(b"one")).expires_at == clock.now + DAY


async def test_an_expired_token_and_one_without_an_issuer_are_not_extended(workers, clock):
    await workers.register(worker(), b"one", issuer="api_key:k-1")
    await workers.register(worker(), b"old")
    expiry = clock.now + DAY
    clock.advance(7_200)
    await workers.heartbeat("w-1")
    assert (await workers.by_token(b"old")).expires_at == expiry
    clock.advance(DAY // 1000)
    await workers.heartbeat("w-1")
    await workers.register(worker(), b"two", issuer="api_key:k-1")
    assert (await workers.by_token(b"one")).expires_at == expiry + 7_200_000 == clock.now


async def test_a_removed_worker_has_no_tokens_and_may_register_again(workers):
    await workers.register(worker(), b"one")
    await workers.register(worker(id="w-2", worker_key="k-2"), b"two")
    assert await workers.remove("w-1")
    assert not await workers.remove("w-1")
    assert await workers.get("w-1") is None
    assert await workers.by_token(b"one") is None
    assert await workers.heartbeat("w-1") is None
    assert (await workers.by_token(b"two")).id == "w-2"
    assert (await workers.register(worker(id="w-3"), b"three")).id == "w-3"


async def test_only_the_newest_tokens_stay_good(workers):
    count = limits.worker_tokens_max + 3
    for n in range(count):
        await workers.register(worker(), b"token-%d" % n)
    good = [n for n in range(count) if await workers.by_token(b"token-%d" % n) is not None]
    assert good == list(range(3, count))


async def test_tokens_of_one_worker_do_not_push_out_anothers(workers):
    await workers.register(worker(id="w-2", worker_key="k-2"), b"other")
    for n in range(limits.worker_tokens_max + 1):
        await workers.register(worker(), b"token-%d" % n)
    assert (await workers.by_token(b"other")).id == "w-2"


async def test_a_heartbeat_is_kept(workers, clock):
    await workers.register(worker(), b"one")
    seen = await workers.heartbeat("w-1")
    assert seen.last_heartbeat_at == clock.now
    assert await workers.get("w-1") == seen
    assert await workers.heartbeat("w-9") is None


async def test_a_session_is_stored(workers, run, clock):
    stored = await workers.put_session(run.seq, session(metadata=b"{}", created_at=clock.now))
    assert (stored.id, stored.session_key, stored.status, stored.metadata) == (
        "s-1",
        "first",
        "active",
        b"{}",
    )
    assert (stored.created_at, stored.updated_at, stored.ended_at) == (clock.now, clock.now, None)
    assert await workers.session(run.seq) == stored


async def test_a_run_without_session_has_none(workers, run):
    assert await workers.session(run.seq) is None
    assert await workers.session(404) is None


async def test_the_same_worker_updates_its_session(workers, run, clock):
    first = await workers.put_session(run.seq, session())
    clock.advance_ms(10)
    again = await workers.put_session(run.seq, session(id="s-2", session_key="second", metadata=b"[]"))
    assert (again.id, again.created_at) == (first.id, first.created_at)
    assert (again.session_key, again.metadata, again.updated_at) == ("second", b"[]", clock.now)
    assert await workers.session(run.seq) == again


async def test_the_newest_session_of_a_run_is_shown(workers, run, clock):
    await workers.put_session(run.seq, session())
    clock.advance_ms(10)
    second = await workers.put_session(run.seq, session(id="s-2", worker_id="w-2"))
    assert await workers.session(run.seq) == second


async def test_sessions_of_different_runs_are_apart(workers, run, driver):
    other = await driver.create("run-2")
    await workers.put_session(run.seq, session())
    assert await workers.session(other.seq) is None


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
async def test_a_session_ends_when_its_status_leaves_active(workers, run, clock, status):
    await workers.put_session(run.seq, session())
    clock.advance_ms(10)
    ended = await workers.put_session(run.seq, session(status=status))
    assert (ended.status, ended.ended_at) == (status, clock.now)


async def test_a_session_ends_once(workers, run, clock):
    first = await workers.put_session(run.seq, session(status="completed"))
    clock.advance_ms(10)
    again = await workers.put_session(run.seq, session(status="completed"))
    assert again.ended_at == first.ended_at


# Silence


@pytest.fixture
def silence(clock):
    """silence(ms): so long after the longest silence that a worker may keep."""
    return lambda ms=1: clock.advance_ms(limits.worker_silence_s * 1000 + ms)


async def silent(workers, limit=100):
    return [one.id for one in await workers.fell_silent(limit)]


async def test_a_worker_without_heartbeat_becomes_offline_once(workers, clock, silence):
    await workers.register(worker(), b"one")
    silence(0)
    assert await silent(workers) == []
    clock.advance_ms(1)
    [found] = await workers.fell_silent(100)
    assert (found.id, found.silent_at, found.status) == ("w-1", clock.now, "offline")
    assert await workers.get("w-1") == found
    silence()
    assert await silent(workers) == []


@pytest.mark.parametrize("sign", ["heartbeat", "heard", "register"])
async def test_a_heartbeat_ends_an_outage_and_the_next_outage_is_reported_again(
    workers, clock, silence, sign
):
    await workers.register(worker(), b"one")
    silence()
    assert await silent(workers) == ["w-1"]
    if sign == "heartbeat":
        await workers.heartbeat("w-1")
    elif sign == "heard":
        await workers.touch(["w-1", "unknown"])
    else:
        await workers.register(worker(), b"two")
    found = await workers.get("w-1")
    assert (found.silent_at, found.last_heartbeat_at, found.status) == (None, clock.now, "active")
    assert await silent(workers) == []
    silence()
    assert await silent(workers) == ["w-1"]


async def test_many_heartbeats_are_written_at_a_time(workers, clock):
    ids = [f"w-{n}" for n in range(50)]
    for one in ids:
        await workers.register(worker(id=one, worker_key=one), one.encode())
    clock.advance_ms(1)
    await workers.touch(ids)
    assert {(await workers.get(one)).last_heartbeat_at for one in ids} == {clock.now}


async def test_the_longest_silent_come_first_up_to_the_limit(workers, clock, silence):
    for n in (3, 1, 4, 0, 2):
        await workers.register(worker(id=f"w-{n}", worker_key=f"{n}"), b"%d" % n)
        clock.advance_ms(1)
    silence()
    assert await silent(workers, 2) == ["w-3", "w-1"]
    assert await silent(workers, 2) == ["w-4", "w-0"]
    assert await silent(workers, 2) == ["w-2"]


async def test_concurrent_checks_report_each_outage_once(workers, silence):
    for n in range(20):
        await workers.register(worker(id=f"w-{n}", worker_key=f"{n}"), b"%d" % n)
    silence()
    found = [one for some in await asyncio.gather(*(silent(workers, 7) for _ in range(6))) for one in some]
    found += await silent(workers)
    assert sorted(found) == sorted(f"w-{n}" for n in range(20))


async def test_a_projects_workers_come_in_pages_by_kind_and_key(workers, silence):
    for n, (kind, key) in enumerate([("rust", "a"), ("node", "b"), ("node", "B"), ("rust", "Z"), ("x", "y")]):
        project_id = "p-2" if kind == "x" else "p-1"
        await workers.register(
            worker(id=f"w-{n}", implementation_kind=kind, worker_key=key, project_id=project_id), b"%d" % n
        )
    ids = [one.id for one in (await workers.page("p-1", None, 10)).rows]
    assert ids == ["w-2", "w-1", "w-3", "w-0"]
    assert [one.id for one in (await workers.page("p-1", ("node", "B"), 2)).rows] == ["w-1", "w-3"]
    assert (await workers.page("p-1", ("rust", "a"), 10)).rows == []
    silence()
    await workers.heartbeat("w-3")
    await silent(workers)
    assert [one.id for one in (await workers.page("p-1", None, 10, silent=False)).rows] == ["w-3"]
    assert [one.id for one in (await workers.page("p-1", None, 10, silent=True)).rows] == [
        "w-2",
        "w-1",
        "w-0",
    ]
