"""Live streams over sockets on a real server."""

import asyncio
import json
import socket

import pytest

from runstead.core import limits


async def read_events(reader, seen, stop_after=None):
    """Read the ids of frames into `seen` until the stream ends, or `stop_after` frames were read."""
    number = None
    while line := await reader.readline():
        if line.startswith(b"id: "):
            number = int(line[4:])
        elif line.startswith(b"data: "):
            json.loads(line[6:])
            seen.append(number)
            if stop_after is not None and len(seen) >= stop_after:
                return


async def follow(live, path, after=None, seen=None):
    """Read a whole stream."""
    seen = [] if seen is None else seen
    reader, writer = await live.open_stream(path, after)
    content = asyncio.StreamReader(limit=1 << 22)
    unchunking = asyncio.ensure_future(unchunk(reader, content))
    try:
        await read_events(content, seen)
    finally:
        unchunking.cancel()
        writer.close()
    return seen


async def unchunk(reader, content):
    """Feed the content of a chunked response (RFC 9112, section 7.1) to another reader: large events have many chunks."""
    try:
        while size := int(await reader.readline(), 16):
            content.feed_data(await reader.readexactly(size))
            await reader.readexactly(2)
        content.feed_eof()
    except (ValueError, asyncio.IncompleteReadError) as error:
        content.set_exception(error)


async def test_no_event_is_lost_or_repeated_across_reconnects(live):
    run_id = await live.create()
    path = f"/runs/{run_id}/stream"

    async def write():
        for batch in range(80):
            await live.append(run_id, *({"type": "A", "n": batch * 10 + n} for n in range(10)))
        await live.complete(run_id)

    async def restless():
        seen = []
        while not seen or seen[-1] < 801:
            reader, writer = await live.open_stream(path, after=seen[-1] if seen else None)
            await read_events(reader, seen, stop_after=len(seen) + 97)
            writer.close()
        return seen

    writer = asyncio.create_task(write())
    found = await asyncio.gather(restless(), restless(), follow(live, path))
    await writer
    assert found == [list(range(1, 802))] * 3
    assert await follow(live, path, after=790) == list(range(791, 802))
    assert await follow(live, path, after=801) == []


async def test_an_event_is_sent_at_once(live, monkeypatch):
    """On an idle machine within a few milliseconds. Here a stream that waits for its next poll fails."""
    monkeypatch.setattr(limits, "stream_poll_s", 600)
    monkeypatch.setattr(limits, "stream_tick_s", 600)
    run_id = await live.create()
    reader, writer = await live.open_stream(f"/runs/{run_id}/stream")
    seen = []
    reading = asyncio.create_task(read_events(reader, seen))
    for count in range(1, 31):
        await live.append(run_id, {"type": "A"})
        await live.until(lambda count=count: len(seen) == count)
    writer.close()
    reading.cancel()


async def test_many_followers_of_several_runs_receive_every_event(live):
    shared, others = await live.create(), [await live.create() for _ in range(100)]
    runs = [shared] * 200 + others
    following = [asyncio.create_task(follow(live, f"/runs/{run_id}/stream")) for run_id in runs]
    for _ in range(10):
        await live.append(shared, {"type": "A"}, {"type": "B"})
    await asyncio.gather(*(live.append(run_id, {"type": "A"}) for run_id in others))
    await asyncio.gather(*(live.complete(run_id) for run_id in [shared, *others]))
    found = await asyncio.gather(*following)
    assert found == [list(range(1, 22))] * 200 + [[1, 2]] * 100


async def test_a_slow_follower_delays_neither_appends_nor_other_followers(live, monkeypatch):
    monkeypatch.setattr(limits, "write_silence_s", 600)
    run_id = await live.create()
    path = f"/runs/{run_id}/stream"
    slow = socket.socket()
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    slow.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(slow, live.address())
    head = f"GET {path} HTTP/1.1\r\nHost: r\r\nAuthorization: {live.headers['Authorization']}\r\n\r\n"
    await loop.sock_sendall(slow, head.encode())
    assert (await loop.sock_recv(slow, 12)).startswith(b"HTTP/1.1 200")  # and reads nothing from now on
    seen = []
    quick = asyncio.create_task(follow(live, path, seen=seen))
    for count in range(1, 61):
        await live.append(
            run_id, {"type": "A", "x": "x" * 200_000}
        )  # 12 MB in all: no socket buffer holds that
        await live.until(lambda count=count: len(seen) >= count)
    await live.complete(run_id)
    assert await quick == list(range(1, 62))
    slow.close()


async def test_a_quiet_stream_sends_heartbeats(live, monkeypatch):
    monkeypatch.setattr(limits, "stream_heartbeat_s", 0.05)
    run_id = await live.create()
    reader, writer = await live.open_stream(f"/runs/{run_id}/stream")
    async with asyncio.timeout(30):
        for _ in range(3):
            await reader.readuntil(b": heartbeat\n\n")
    await live.append(run_id, {"type": "A"})
    async with asyncio.timeout(30):
        await reader.readuntil(b"id: 1\n")
    writer.close()


async def test_a_stream_ends_when_the_run_does(live):
    for act, body in (("complete", {"status": "failed"}), ("cancel", None)):
        run_id = await live.create()
        reader, writer = await live.open_stream(f"/runs/{run_id}/stream")
        await live.post(f"/runs/{run_id}/{act}", body)
        async with asyncio.timeout(30):
            assert b"event: RunError\n" in await reader.read()
        writer.close()


async def test_a_shutdown_ends_streams_cleanly(live):
    run_id = await live.create()
    reader, writer = await live.open_stream(f"/runs/{run_id}/stream")
    await live.append(run_id, {"type": "A"})
    await reader.readuntil(b"id: 1\n")
    live.main.stop()
    async with asyncio.timeout(limits.shutdown_s):
        rest = await reader.read()
        await live.task
    assert rest.endswith(b"0\r\n\r\n")  # the last chunk: a regular end
    writer.close()


async def test_open_streams_are_counted(live):
    run_id = await live.create()

    async def count():
        text = (await live.client.get(f"{live.url}/metrics")).text
        [line] = [line for line in text.splitlines() if line.startswith("runstead_streams ")]
        return float(line.split()[1])

    before = await count()
    _, writer = await live.open_stream(f"/runs/{run_id}/stream")
    assert await count() == before + 1
    writer.close()
    async with asyncio.timeout(30):
        while await count() != before:
            await live.append(run_id, {"type": "A"})


@pytest.mark.parametrize("size", [None, str(11 << 20)], ids=["chunked", "content-length"])
async def test_a_body_over_ten_mib_is_refused_by_the_real_server(live, size):
    reader, writer = await asyncio.open_connection(*live.address())
    framing = "Transfer-Encoding: chunked" if size is None else f"Content-Length: {size}"
    head = f"POST /runs HTTP/1.1\r\nHost: r\r\nAuthorization: {live.headers['Authorization']}\r\n{framing}\r\n\r\n"
    writer.write(head.encode())
    piece = b"x" * (1 << 20)
    answering = asyncio.create_task(reader.readuntil(b"\r\n\r\n"))
    for _ in range(11):
        if answering.done() or writer.is_closing():
            break
        writer.write(piece if size is not None else b"100000\r\n" + piece + b"\r\n")
        await asyncio.wait(
            {answering, asyncio.create_task(writer.drain())}, return_when=asyncio.FIRST_COMPLETED
        )
    async with asyncio.timeout(30):
        assert (await answering).startswith(b"HTTP/1.1 413 ")
    writer.close()
