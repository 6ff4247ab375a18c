"""Slow, silent and disconnected clients over real sockets: they get no run, and delay no other client."""

import asyncio
import json

import pytest

from runstead.core import limits


@pytest.fixture
def hasty(monkeypatch):
    """Short deadlines. Request this fixture before `live`."""
    monkeypatch.setattr(limits, "header_s_max", 0.5)
    monkeypatch.setattr(limits, "body_s_max", 0.5)


async def connect(live):
    return await asyncio.open_connection(*live.address())


def claim(live, worker, **more):
    body = json.dumps({"wait_seconds": 20, "kinds": ["task"], **more})
    lines = [
        f"POST /agent-workers/workers/{worker}/claim HTTP/1.1",
        "Host: a",
        f"Content-Length: {len(body)}",
    ]
    lines += [f"{name}: {value}" for name, value in live.headers.items()]
    return "\r\n".join([*lines, "", body]).encode()


async def worker_of(live):
    body = {"implementation_kind": "claude", "worker_key": "one"}
    return (await live.post("/agent-workers/projects/default/workers", body))["worker"]["id"]


async def test_a_slow_loris_is_cut_off_while_others_are_served(hasty, live):
    slow = [await connect(live) for _ in range(60)]

    async def drip(reader, writer):
        """Read the final answer."""
        writer.write(b"GET /healthz HTTP/1.1\r\nx: ")
        answer = asyncio.ensure_future(reader.read())
        while not answer.done():
            writer.write(b"a")
            await asyncio.wait([answer], timeout=0.05)
        writer.close()
        return await answer

    dripping = asyncio.gather(*(drip(*one) for one in slow))
    while not dripping.done():
        assert (await live.client.get(f"{live.url}/healthz")).status_code == 200
    assert all(answer.startswith(b"HTTP/1.1 408 ") for answer in await dripping)


#: Routes without a credential, and the largest body that each reads.
UNAUTHENTICATED = {
    "/ui/sign-in": limits.sign_in_body_bytes_max,
    "/triggers/none": limits.trigger_body_bytes_max,
}
FRAMINGS = ("Content-Length: 30000", "Transfer-Encoding: chunked")  # of a plain request, and over ASGI


def post(path, framing):
    return f"POST {path} HTTP/1.1\r\nHost: a\r\nSec-Fetch-Site: same-origin\r\n{framing}\r\n\r\n".encode()


def chunk(size):
    return b"%x\r\n%b\r\n" % (size, b"a" * size)


@pytest.mark.parametrize("path", UNAUTHENTICATED)
@pytest.mark.parametrize("framing", FRAMINGS)
async def test_an_unauthenticated_body_that_stops_arriving_is_cut_off_at_its_deadline(
    hasty, live, path, framing
):
    reader, writer = await connect(live)
    writer.write(post(path, framing) + (b"1\r\n{\r\n" if "chunked" in framing else b"{"))
    async with asyncio.timeout(30):
        assert (await reader.read()).startswith(b"HTTP/1.1 408 ")
    writer.close()


@pytest.mark.parametrize(("path", "most"), UNAUTHENTICATED.items())
async def test_an_unauthenticated_body_is_refused_while_it_is_read(live, path, most):
    reader, writer = await connect(live)
    writer.write(post(path, "Transfer-Encoding: chunked") + chunk(most) + chunk(1))  # and no last chunk
    async with asyncio.timeout(30):
        assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 413 ")
    writer.close()
    reader, writer = await connect(live)
    writer.write(post(path, f"Content-Length: {most + 1}"))
    async with asyncio.timeout(30):
        assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 413 ")
    writer.close()


async def test_a_body_that_goes_on_after_its_answer_is_cut_off_at_the_deadline(hasty, live):
    reader, writer = await connect(live)
    writer.write(post("/runs", "Transfer-Encoding: chunked"))  # without a credential
    assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 401 ")
    ended = asyncio.ensure_future(reader.read())
    async with asyncio.timeout(30):
        while not ended.done():  # fast enough to be no slow body
            writer.write(chunk(8_192))
            await asyncio.wait([ended], timeout=0.02)
    ended.exception()  # the end, or a reset
    writer.close()


@pytest.mark.parametrize("phase", ["header", "body", "command"])
async def test_a_claim_whose_caller_disconnected_leases_no_run(live, phase):
    worker = await worker_of(live)
    request = claim(live, worker)
    _, writer = await connect(live)
    writer.write(request[: {"header": 20, "body": -3, "command": len(request)}[phase]])
    await writer.drain()
    if phase == "command":
        await live.until(lambda: len(live.main.app.notifier))
    served = len(live.main._server.server_state.connections)
    writer.transport.abort() if phase == "body" else writer.close()
    await live.until(lambda: len(live.main._server.server_state.connections) < served)
    run_id = await live.create()
    await live.until(lambda: not live.main._server.server_state.tasks)
    run = (await live.client.get(f"{live.url}/runs/{run_id}", headers=live.headers)).json()
    assert run["status"] == "pending"
    taken = await live.post(f"/agent-workers/workers/{worker}/claim", {"kinds": ["task"]})
    assert taken["run"]["run_id"] == run_id


async def test_a_caller_that_disconnects_during_its_answer_leaves_nothing_behind(live):
    run_id = await live.create()
    for _ in range(30):
        await live.append(run_id, *({"type": "A", "text": "x" * 100_000} for _ in range(2)))
    state = live.main._server.server_state
    before = len(state.connections)
    reader, writer = await connect(live)
    path = f"/runs/{run_id}/events?limit=500"
    one = f"GET {path} HTTP/1.1\r\nHost: a\r\nAuthorization: {live.headers['Authorization']}\r\n\r\n".encode()
    writer.write(one * 50)  # more than the sockets buffer: its answers are stuck half-way
    await reader.readexactly(100)
    writer.transport.abort()
    await live.until(lambda: len(state.connections) <= before and not state.tasks)
    assert (await live.client.get(f"{live.url}/healthz")).status_code == 200


async def test_refused_connections_are_closed_soon(live):
    refused = []
    for _ in range(20):
        reader, writer = await connect(live)
        writer.write(b"GET /" + b"a" * (limits.url_bytes_max + 1))
        assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 414 ")
        refused.append(writer)
    state = live.main._server.server_state
    await live.until(lambda: len(state.connections) <= 1)  # although no client closes
    for writer in refused:
        writer.close()
