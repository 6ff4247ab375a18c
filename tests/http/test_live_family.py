"""Live streams of a family over sockets on a real server."""

import asyncio
import json

import pytest

from runstead.core import limits
from runstead.ports.store import RunKey

pytestmark = pytest.mark.postgres


async def read(reader, seen, stop_after=None):
    """Read frames into `seen` as (id, run_id, event_id) until the stream ends, or `stop_after` frames were
    read.
    """
    cursor = None
    while line := await reader.readline():
        if line.startswith(b"id: "):
            cursor = line[4:].strip().decode()
        elif line.startswith(b"data: "):
            item = json.loads(line[6:])
            seen.append((cursor, item["run_id"], item["event_id"]))
            if stop_after is not None and len(seen) >= stop_after:
                return True
    return False


def ids_of(seen):
    return [(run_id, event_id) for _, run_id, event_id in seen]


async def test_no_event_is_lost_or_repeated_while_a_family_grows(live):
    root = await live.create()
    path = f"/runs/{root}/stream?include_descendants=true"
    written = {}

    async def speak(run_id, batches):
        for _ in range(batches):
            answer = await live.append(run_id, *({"type": "A", "n": n} for n in range(3)))
        done = await live.complete(run_id)
        written[run_id] = done["run"]["latest_event_id"]
        assert answer["latest_event_id"] == written[run_id] - 1

    async def write():
        await live.append(root, {"type": "A"})
        speaking = []
        for n in range(12):
            child = await live.create(parent_run_id=root)
            speaking.append(asyncio.create_task(speak(child, 10)))
            if n % 3 == 0:
                speaking.append(asyncio.create_task(speak(await live.create(parent_run_id=child), 5)))
            await live.append(root, {"type": "B"})
        await asyncio.gather(*speaking)
        await speak(root, 1)

    async def restless():
        seen, more = [], True
        while more:
            reader, writer = await live.open_stream(path, after=seen[-1][0] if seen else None)
            more = await read(reader, seen, stop_after=len(seen) + 31)
            writer.close()
        return ids_of(seen)

    async def steady():
        seen = []
        reader, writer = await live.open_stream(path)
        await read(reader, seen)
        writer.close()
        return ids_of(seen)

    writer = asyncio.create_task(write())
    async with asyncio.timeout(60):
        found = await asyncio.gather(restless(), restless(), steady())
        await writer
    everything = {(run_id, n) for run_id, latest in written.items() for n in range(1, latest + 1)}
    assert len(written) == 17
    for one in found:
        assert len(one) == len(set(one))
        assert set(one) == everything
        assert one == found[0], "all followers receive the same order"
    for run_id in written:
        numbers = [event_id for owner, event_id in found[0] if owner == run_id]
        assert numbers == sorted(numbers)


async def test_a_familys_stream_ends_with_its_last_run(live):
    root = await live.create()
    child = await live.create(parent_run_id=root)
    seen = []
    reader, writer = await live.open_stream(f"/runs/{root}/stream?include_descendants=true")
    reading = asyncio.create_task(read(reader, seen))
    await live.complete(root)
    await live.until(lambda: ids_of(seen) == [(root, 1)])
    late = await live.create(parent_run_id=child)  # new descendants are followed too
    await live.append(late, {"type": "A"})
    await live.until(lambda: ids_of(seen)[-1] == (late, 1))
    await live.complete(child)
    await live.until(lambda: ids_of(seen)[-1] == (child, 1))
    assert not reading.done()
    await live.complete(late)
    async with asyncio.timeout(30):
        await reading
    assert ids_of(seen)[-1] == (late, 2)
    writer.close()


async def test_a_familys_stream_ends_when_it_is_cancelled(live):
    root = await live.create()
    child = await live.create(parent_run_id=root)
    reader, writer = await live.open_stream(f"/runs/{root}/stream?include_descendants=true")
    seen = []
    reading = asyncio.create_task(read(reader, seen))
    await live.post(f"/runs/{root}/cancel")
    async with asyncio.timeout(30):
        await reading
    assert ids_of(seen) == [(root, 1), (child, 1)]
    writer.close()


async def test_a_stream_that_filters_all_events_still_sends_heartbeats_and_ends(live, monkeypatch):
    monkeypatch.setattr(limits, "stream_heartbeat_s", 0.05)
    run_id = await live.create()
    for query in ("", "&include_descendants=true"):
        reader, writer = await live.open_stream(f"/runs/{run_id}/stream?event_type=WANTED{query}")
        async with asyncio.timeout(30):
            await reader.readuntil(b"\n\n")
            beats = asyncio.create_task(reader.readuntil(b": heartbeat\n\n"))
            while not beats.done():
                await live.append(run_id, {"type": "NOISE"})
        assert b"NOISE" not in await beats
        if query:
            await live.append(run_id, {"type": "WANTED"})
            async with asyncio.timeout(30):
                await reader.readuntil(b"event: Wanted\n")
            await live.complete(run_id)
            async with asyncio.timeout(30):
                assert b"RunFinished" not in await reader.read()
        writer.close()


async def test_streams_of_a_deleted_run_end(api, monkeypatch):
    monkeypatch.setattr(limits, "stream_poll_s", 0.02)
    monkeypatch.setattr(limits, "stream_tick_s", 0.02)
    run_id = (await api.create())["run_id"]
    run = await api.store.runs.get(RunKey(api.project.id, run_id))
    await api.complete(run_id)
    assert (await api.send("DELETE", f"/runs/{run_id}", by="admin")).status_code == 200
    async with asyncio.timeout(30):
        for follow in (api.app.followers.follow, api.app.followers.follow_family):
            assert [frames async for frames in follow(run, 0, bytes) if frames is not None] == []
