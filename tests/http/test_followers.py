"""Many followers of a real server over sockets: what each receives, and the cost of one that does not read."""

import asyncio
import socket

import pytest

from runstead.core import limits
from runstead.http import stream
from runstead.http.framework.sse import EventStream
from runstead.ports import metrics
from runstead.web.framework.app import add_security_headers

PRIVATE = "AGENT_RUN_MODEL_CALL_CONTEXT"


async def whole(live, path, after=None):
    """Read all bytes of a stream's body, until it ends."""
    reader, writer = await live.open_stream(path, after)
    try:
        return await reader.read()
    finally:
        writer.close()


def connections(live):
    return live.main._server.server_state.connections


async def deaf(live, path):
    """Open a socket that requested a stream and read only its first bytes."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    sock.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(sock, live.address())
    head = f"GET {path} HTTP/1.1\r\nHost: r\r\nAuthorization: {live.headers['Authorization']}\r\n\r\n"
    await loop.sock_sendall(sock, head.encode())
    assert (await loop.sock_recv(sock, 12)).startswith(b"HTTP/1.1 200")
    return sock


async def test_200_followers_get_identical_bytes_and_each_event_is_encoded_once(live, monkeypatch):
    encoded, frame = [], stream.frame
    monkeypatch.setattr(stream, "frame", lambda event: encoded.append(event.event_id) or frame(event))
    run_id = await live.create()
    path = f"/runs/{run_id}/stream"
    opened = metrics.streams._value.get()
    following = [asyncio.create_task(whole(live, path)) for _ in range(200)]
    await live.until(lambda: metrics.streams._value.get() == opened + 200)
    for number in range(5):
        await live.append(run_id, {"type": "A", "n": number}, {"type": "B"})
    await live.complete(run_id)
    found = await asyncio.gather(*following)
    events = [chunked.count(b"\nevent: ") for chunked in found]
    assert events == [11] * 200
    assert len({without_chunks(each) for each in found}) == 1
    assert (
        len(encoded) <= 33
    )  # 2,200 if each follower had its own; a few that read for themselves are late ones


def without_chunks(body):
    """The content of a body in chunks (RFC 9112, 7.1)."""
    content = b""
    while True:
        size, _, body = body.partition(b"\r\n")
        if not int(size, 16):
            return content
        content, body = content + body[: int(size, 16)], body[int(size, 16) + 2 :]


async def test_followers_with_different_filters_get_exactly_their_own_events(live):
    run_id = await live.create()
    child = await live.create(parent_run_id=run_id)
    queries = ["", "?event_type=A", "?event_type=B&event_type=RUN_FINISHED", "?event_type=NONE"]
    family = ["?include_descendants=true", "?include_descendants=true&event_type=C"]
    paths = [f"/runs/{run_id}/stream{query}" for query in queries + family]
    opened = metrics.streams._value.get()
    following = [asyncio.create_task(whole(live, path)) for path in paths * 5]
    await live.until(lambda: metrics.streams._value.get() == opened + 5 * len(paths))
    expected = {"A": [], "B": [], "C": []}
    latest = 0
    for _ in range(10):
        latest = (await live.append(run_id, {"type": "A"}, {"type": "B"}))["latest_event_id"]
        private = {"events": [{"type": PRIVATE, "secret": "hidden"}], "expected_previous_event_id": latest}
        await live.post(f"/runs/{run_id}/events", private)
        await live.append(child, {"type": "C"})
        expected["A"].append(latest - 1)
        expected["B"].append(latest)
    await live.complete(child)
    await live.complete(run_id)
    end = latest + 2
    everything = sorted([*expected["A"], *expected["B"], end])
    own = [everything, expected["A"], [*expected["B"], end], []]
    found = [without_chunks(each) for each in await asyncio.gather(*following)]
    for number, body in enumerate(found):
        which = number % len(paths)
        assert b"hidden" not in body
        if which < len(own):
            assert [int(line[4:]) for line in body.split(b"\n") if line.startswith(b"id: ")] == own[which]
        else:
            assert body.count(b"event: C\n") == 10
            assert body.count(b"event: A\n") == (10 if which == len(own) else 0)


async def test_views_of_one_family_never_share_a_frame(driver):
    """Under a conversation an item has `event`, under /runs it has `payload`: both follow the same run at
    once.
    """
    run, path = await driver.agent_run()
    run_id = run["run_id"]
    followed = metrics.streams._value.get() + 2
    following = [
        asyncio.create_task(driver.send("GET", f"{place}/stream?include_descendants=true"))
        for place in (f"/runs/{run_id}", path)
    ]
    async with asyncio.timeout(30):
        while metrics.streams._value.get() < followed:  # noqa: ASYNC110 - of what is waited for, nothing tells
            await asyncio.sleep(0)
    await driver.append(run_id, {"type": "A"})
    await driver.complete(run_id)
    plain, spoken = [(await each).text for each in following]
    assert ('"payload":' in plain, '"event":' in plain) == (True, False)
    assert ('"payload":' in spoken, '"event":' in spoken) == (False, True)


async def test_a_reconnected_follower_gets_the_rest_beside_the_others(live):
    run_id = await live.create()
    path = f"/runs/{run_id}/stream"
    steady = asyncio.create_task(whole(live, path))
    reader, writer = await live.open_stream(path)
    for _ in range(20):
        await live.append(run_id, *({"type": "A", "n": n} for n in range(5)))
    await reader.readuntil(b"id: 37\n")
    writer.close()
    again = asyncio.create_task(whole(live, path, after=37))
    for _ in range(20):
        await live.append(run_id, *({"type": "A", "n": n} for n in range(5)))
    await live.complete(run_id)
    ids = [
        [int(line[4:]) for line in without_chunks(await each).split(b"\n") if line.startswith(b"id: ")]
        for each in (steady, again)
    ]
    assert ids == [list(range(1, 202)), list(range(38, 202))]


async def test_a_follower_that_never_reads_is_closed_within_bounded_memory(live, monkeypatch):
    monkeypatch.setattr(limits, "write_silence_s", 0.5)
    run_id = await live.create()
    path = f"/runs/{run_id}/stream"
    sock = await deaf(live, path)
    (followed,) = [each for each in connections(live) if each.cycle and not each.cycle.response_complete]
    quick = asyncio.create_task(whole(live, path))
    most = 0
    for _ in range(100):  # 20 MB: no socket buffer holds that
        await live.append(run_id, {"type": "A", "x": "x" * 200_000})
        most = max(most, followed.transport.get_write_buffer_size())
    assert most <= 64 * 1024 + limits.stream_piece_bytes_max + 100  # the high-water mark, and one piece
    await live.until(lambda: followed not in connections(live))
    await live.complete(run_id)
    assert without_chunks(await quick).count(b"\nevent: ") == 101
    await live.until(lambda: metrics.streams._value.get() == 0)
    sock.close()


async def test_the_kernel_keeps_little_for_a_follower_that_never_reads(live):
    run_id = await live.create()
    sock = await deaf(live, f"/runs/{run_id}/stream")
    (followed,) = [each for each in connections(live) if each.cycle and not each.cycle.response_complete]
    size = followed.transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
    assert size <= 2 * limits.stream_send_buffer_bytes_max  # Linux doubles it for its own records
    sock.close()


@pytest.mark.parametrize(
    ("bound", "owner"), [("streams_per_project_max", "project"), ("streams_per_caller_max", "caller")]
)
async def test_streams_of_a_project_and_of_a_caller_are_bounded(live, monkeypatch, bound, owner):
    monkeypatch.setattr(limits, bound, 2)
    run_id = await live.create()
    path = f"/runs/{run_id}/stream"
    _, writer = await live.open_stream(path)
    _, other = await live.open_stream("/projects/default/notifications")
    refused = await live.client.get(f"{live.url}{path}", headers=live.headers)
    assert (refused.status_code, refused.json()["code"]) == (429, "STREAM_LIMIT_REACHED")
    assert f"The {owner} has 2 open streams" in refused.json()["detail"]
    assert refused.headers["retry-after"] == str(limits.stream_retry_s)
    head = await live.client.head(f"{live.url}{path}", headers=live.headers)
    assert head.status_code == 429
    other.close()
    await live.until(lambda: metrics.streams._value.get() == 1)
    for _ in range(3):  # HEAD takes no place
        assert (await live.client.head(f"{live.url}{path}", headers=live.headers)).status_code == 200
    _, again = await live.open_stream(path)
    for one in (writer, again):
        one.close()
    await live.until(lambda: not live.main.app.open_streams._counts)


async def test_a_follower_that_reads_slowly_is_not_closed(live, monkeypatch):
    monkeypatch.setattr(limits, "write_silence_s", 0.6)
    run_id = await live.create()
    for _ in range(30):
        await live.append(run_id, {"type": "A", "x": "x" * 200_000})
    await live.complete(run_id)
    sock = await deaf(live, f"/runs/{run_id}/stream")
    loop, body, least = asyncio.get_running_loop(), b"", loop_time() + 2
    while not body.endswith(b"0\r\n\r\n"):
        some = await loop.sock_recv(sock, 65_536)
        assert some, "it was closed"
        body += some
        if loop_time() < least:
            await asyncio.sleep(0.05)
    assert body.count(b"\nevent: ") == 31
    sock.close()


def loop_time():
    return asyncio.get_running_loop().time()


async def test_headers_of_one_stream_do_not_leak_into_another():
    async def frames():
        yield b"data: 1\n\n"

    async def headers_of(answer):
        sent = []

        async def send(message):
            sent.append(message)

        await answer({"type": "http"}, asyncio.Event().wait, send)
        assert b"".join(message.get("body", b"") for message in sent) == b": hello\n\ndata: 1\n\n"
        return dict(sent[0]["headers"])

    of_page = await headers_of(add_security_headers(EventStream(frames(), b": hello\n\n")))
    own = {b"cache-control", b"x-accel-buffering", b"content-type"}
    assert own < set(of_page)
    assert of_page[b"content-security-policy"].startswith(b"default-src 'none'")
    assert set(await headers_of(EventStream(frames(), b": hello\n\n"))) == own


@pytest.mark.parametrize("hang_up", ["close", "reset"])
async def test_a_follower_that_disconnects_is_removed_at_once(live, hang_up):
    run_id = await live.create()
    _, writer = await live.open_stream(f"/runs/{run_id}/stream")
    await live.until(lambda: metrics.streams._value.get() == 1)
    if hang_up == "close":
        writer.close()
    else:
        writer.transport.abort()
    await live.until(lambda: metrics.streams._value.get() == 0)
    assert live.main.app.followers._tails == {}
    assert len(live.main.app.followers._notifier._subscribers.get("run:1", ())) == 0
