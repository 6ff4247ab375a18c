"""The async client's own connections, against a server that sends any bytes."""

import asyncio
import socket

import pytest

from runstead.sdk import AsyncClient, NoAnswerError, RunsteadError
from runstead.sdk.routes.call import Call
from runstead.sdk.transport import pool
from runstead.sdk.transport.connection import HEAD_BYTES_MAX, Connection

from .raw_server import OK, answers, on_uvloop, response, servers

CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-A: b\r\n\r\n"
    b'6;note=1\r\n{"stat\r\n9\r\nus":"ok"}\r\n0\r\nX-Trailer: late\r\n\r\n'
)
TWO_INTERIM = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
TO_THE_END = b'HTTP/1.1 200 OK\r\n\r\n{"status":"ok"}'


@pytest.fixture
async def serve():
    async with servers() as make:
        yield make


class Wire:
    """A transport that records what is written."""

    def __init__(self):
        self.written, self.aborted = b"", False

    def write(self, data):
        self.written += data

    def abort(self):
        self.aborted = True


@pytest.mark.parametrize("data", [OK, CHUNKED, TWO_INTERIM + OK], ids=["length", "chunked", "interim"])
async def test_a_response_may_be_cut_anywhere(data):
    cuts = [[data[:at], data[at:]] for at in range(1, len(data))]
    for parts in [*cuts, [bytes([byte]) for byte in data]]:
        connection = Connection()
        connection.connection_made(Wire())
        exchange = asyncio.ensure_future(connection.exchange(b"", None, 5, 5, streamed=False))
        await asyncio.sleep(0)
        for part in parts:
            assert not exchange.done()
            connection.data_received(part)
            await asyncio.sleep(0)
        answer = await exchange
        assert (answer.status, answer.content) == (200, b'{"status":"ok"}')
        assert connection.reusable
        assert "x-trailer" not in answer.headers
        assert "link" not in answer.headers


async def test_calls_one_after_another_share_a_connection_and_calls_at_a_time_do_not(serve):
    server, client = await serve(answers(*[OK] * 9))
    for _ in range(3):
        await client.health.live()
    assert len(server.peers) == 1
    await asyncio.gather(*(client.health.live() for _ in range(3)))
    assert len(server.peers) == 3


@pytest.mark.parametrize("data", [CHUNKED, TWO_INTERIM + OK, response(b"", status="204 No Content")])
async def test_a_connection_is_used_again_after_trailers_interim_responses_and_an_empty_one(serve, data):
    server, client = await serve(answers(data, OK))
    call = Call("DELETE", "/x", type(None))
    await client.request(call)
    await client.request(call)
    assert len(server.peers) == 1


async def test_the_request_has_the_required_headers(serve):
    server, client = await serve(answers(OK, OK), path="/under/here/")
    await client.request(Call("POST", "/a b?é=1", type(None), body={"n": 1}, headers={"X-B": "c"}))
    await client.request(Call("POST", "/empty", type(None)))
    lines = server.requests[0].split("\r\n")
    assert lines[0] == "POST /under/here/a%20b?%C3%A9=1 HTTP/1.1"
    assert {f"Host: 127.0.0.1:{server.port}", "Authorization: Bearer vf_secret", "X-B: c"} < set(lines)
    assert {"Content-Length: 7", "Accept-Encoding: identity"} < set(lines)
    assert server.peers[0].bodies == [b'{"n":1}', b""]
    assert "Content-Length: 0" in server.requests[1]


async def test_a_header_that_would_begin_another_is_refused_and_not_shown(serve):
    server, client = await serve(answers(OK))
    for key in ("vf_secret\n", "vf_secret\r\nX-Admin: 1", "vf_sécret"):
        with pytest.raises(NoAnswerError, match="Authorization holds a character") as caught:
            await client.with_key(key).health.live()
        assert caught.value.permanent
        assert "cret" not in str(caught.value)
    assert server.peers == []


# Broken connections


@pytest.mark.parametrize("data", [OK[:-3], CHUNKED[:-9], CHUNKED[:-2], OK[:20], b""])
async def test_an_incomplete_response_is_an_error(serve, data):
    async def script(peer):
        await peer.request()
        await peer.send(data)

    _, client = await serve(script)
    with pytest.raises(NoAnswerError, match="closed the connection") as caught:
        await client.health.live()
    assert not caught.value.unsent


async def test_a_body_without_a_length_ends_with_the_connection(serve):
    async def script(peer):
        await peer.request()
        await peer.send(TO_THE_END)

    server, client = await serve(script)
    assert (await client.health.live()).status == "ok"
    await client.health.live()
    assert len(server.peers) == 2


async def test_a_connection_that_the_server_closes_after_its_response_is_not_used_again(serve):
    server, client = await serve(answers(response(b"{}", "Connection: close")))
    call = Call("GET", "/x", dict)
    await client.request(call)
    await client.request(call)
    assert len(server.peers) == 2


async def closes_at_the_second_request(peer):
    await peer.request()
    await peer.send(OK)
    await peer.request()


async def test_a_repeatable_call_is_sent_again_where_the_server_closed_the_idle_connection(serve):
    server, client = await serve(closes_at_the_second_request)
    await client.health.live()
    assert (await client.health.live()).status == "ok"
    assert len(server.requests) == 3


async def test_it_is_sent_again_only_once(serve):
    async def closes_at_once(peer):
        await peer.request()

    server, client = await serve(closes_at_the_second_request, closes_at_once)
    await client.health.live()
    with pytest.raises(NoAnswerError):
        await client.health.live()
    assert len(server.requests) == 3


async def test_a_claim_is_not_sent_twice_over_a_connection_that_was_closed_under_it(serve):
    server, client = await serve(closes_at_the_second_request)
    await client.health.live()
    with pytest.raises(NoAnswerError):
        await client.workers.claim("w", 30)
    assert len([one for one in server.requests if "/claim" in one]) == 1


async def test_a_call_whose_response_has_started_is_not_sent_again(serve):
    async def script(peer):
        await peer.request()
        await peer.send(OK)
        await peer.request()
        await peer.send(OK[:30])

    server, client = await serve(script)
    await client.health.live()
    with pytest.raises(NoAnswerError):
        await client.health.live()
    assert len(server.requests) == 2


async def test_a_claim_finds_a_connection_closed_before_the_event_loop_has_seen_it(monkeypatch):
    monkeypatch.setattr(pool, "_CHECK_AFTER_S", 0)
    loop = asyncio.get_running_loop()
    nothing = response(b'{"run":null,"runs":[]}')
    with socket.create_server(("127.0.0.1", 0)) as listening:
        async with AsyncClient(f"http://127.0.0.1:{listening.getsockname()[1]}", "k", retries=0) as client:
            for _ in range(2):
                claiming = asyncio.ensure_future(client.workers.claim("w", 30))
                listening.setblocking(False)
                peer, _ = await loop.sock_accept(listening)
                with peer:
                    peer.setblocking(False)
                    await loop.sock_recv(peer, 65536)
                    await loop.sock_sendall(peer, nothing)
                    assert (await claiming).run is None
                # Closed here, and no event loop has run between this and the next claim.


@pytest.mark.parametrize("data", [OK + b"HTTP/1.1 200 OK\r\n\r\n", OK + b"\x00"])
async def test_bytes_after_a_response_are_not_taken_for_the_next_one(serve, data):
    server, client = await serve(answers(data), answers(OK))
    assert (await client.health.live()).status == "ok"
    assert (await client.health.live()).status == "ok"
    assert len(server.peers) == 2


async def test_unexpected_bytes_close_an_idle_connection(serve):
    async def script(peer):
        await peer.request()
        await peer.send(OK)
        await peer.send(response(b"{}", status="408 Request Timeout"))
        await peer.wait_until_closed()

    server, client = await serve(script, answers(OK))
    await client.health.live()
    await server.peers[0].gone.wait()
    await client.health.live()
    assert len(server.peers) == 2


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
async def test_a_response_that_is_not_http_is_an_error(serve, data):
    _, client = await serve(answers(data))
    with pytest.raises(NoAnswerError, match="is not HTTP"):
        await client.health.live()


async def test_a_switch_of_protocols_is_an_error(serve):
    switching = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n"
    server, client = await serve(answers(switching), answers(OK))
    with pytest.raises(RunsteadError, match="101"):
        await client.health.live()
    await client.health.live()
    assert len(server.peers) == 2


@pytest.mark.parametrize(
    ("begin", "endless"),
    [
        (b"HTTP/1.1 200 OK\r\nX-Pad: ", b"x" * 4096),
        (b"HTTP/1.1 200 OK\r\n", b"X-Pad: 1\r\n"),
        (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X-Pad: 1\r\n"),
    ],
    ids=["one header", "headers", "interim responses", "trailers"],
)
async def test_a_head_without_end_is_refused(serve, begin, endless):
    sent = 0

    async def script(peer):
        nonlocal sent
        await peer.request()
        await peer.send(begin)
        while True:
            await peer.send(endless * 10)
            sent += 10 * len(endless)

    _, client = await serve(script)
    with pytest.raises(NoAnswerError, match=r"head is (longer|too long)|is not HTTP"):
        await client.health.live()
    assert sent < 100 * HEAD_BYTES_MAX


async def test_a_long_head_that_comes_at_once_is_refused_too(serve):
    _, client = await serve(answers(response(b"{}", "X-Pad: " + "x" * HEAD_BYTES_MAX)))
    with pytest.raises(NoAnswerError):
        await client.health.live()


async def test_a_body_larger_than_a_head_may_be_is_fine_in_chunks_of_any_size(serve):
    text = b'{"status":"' + b"y" * 3 * HEAD_BYTES_MAX + b'"}'
    chunks = b"".join(b"1\r\n" + bytes([byte]) + b"\r\n" for byte in text) + b"0\r\n\r\n"
    _, client = await serve(answers(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks))
    assert (await client.health.live()).status == "y" * 3 * HEAD_BYTES_MAX


# Timeouts


async def test_a_server_that_does_not_answer_times_out(serve):
    server, client = await serve(answers(b""), timeout_s=0.3)
    with pytest.raises(NoAnswerError, match="ReadTimeout") as caught:
        await client.health.live()
    assert not caught.value.unsent
    await server.peers[0].gone.wait()


async def test_each_part_of_a_response_has_its_own_time(serve):
    async def script(peer):
        await peer.request()
        for at in range(0, len(OK), 10):
            await peer.send(OK[at : at + 10])
            await asyncio.sleep(0.15)
        await peer.wait_until_closed()

    _, client = await serve(script, timeout_s=1)
    assert (await client.health.live()).status == "ok"


async def test_an_endless_handshake_times_out_and_nothing_was_sent():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}"
        async with AsyncClient(url, "k", retries=0, timeout_s=0.05) as client:
            with pytest.raises(NoAnswerError, match="ConnectTimeout") as caught:
                await client.health.live()
    assert caught.value.unsent


async def test_a_refused_connection_was_not_sent():
    with socket.create_server(("127.0.0.1", 0)) as gone:
        url = f"http://127.0.0.1:{gone.getsockname()[1]}"
    async with AsyncClient(url, "k", retries=0) as client:
        with pytest.raises(NoAnswerError, match="ConnectError") as caught:
            await client.health.live()
    assert caught.value.unsent


async def test_a_server_that_does_not_read_times_out(serve):
    async def script(peer):
        peer.writer.transport.pause_reading()
        await asyncio.Event().wait()

    _, client = await serve(script, timeout_s=0.5)
    with pytest.raises(NoAnswerError, match="WriteTimeout"):
        await client.events.append("r", [{"type": "CUSTOM", "value": "x" * 20_000_000}])


async def test_the_answer_of_a_cancelled_call_is_not_taken_for_another_calls(serve):
    asked = asyncio.Event()

    async def script(peer):
        await peer.request()
        asked.set()
        await peer.wait_until_closed()

    server, client = await serve(script, answers(OK))
    call = asyncio.ensure_future(client.health.live())
    await asked.wait()
    call.cancel()
    await asyncio.wait([call])
    assert (await client.health.live()).status == "ok"
    assert len(server.peers) == 2


async def test_a_closed_client_ends_open_calls_and_sends_no_more(serve):
    asked = asyncio.Event()

    async def script(peer):
        await peer.request()
        await peer.send(OK)
        await peer.request()
        asked.set()
        await peer.wait_until_closed()

    _, client = await serve(script)
    await client.health.live()
    call = asyncio.ensure_future(client.health.live())
    await asked.wait()
    await client.aclose()
    for under_way in (call, client.health.live()):
        with pytest.raises((NoAnswerError, RuntimeError)):
            await under_way


async def test_idle_connections_are_few_and_are_closed_in_time(serve, monkeypatch):
    server, client = await serve(answers(*[OK] * 9))
    monkeypatch.setattr(pool, "IDLE_MAX", 2)
    await asyncio.gather(*(client.health.live() for _ in range(4)))
    while sum(peer.gone.is_set() for peer in server.peers) < 2:  # noqa: ASYNC110 - of either pair
        await asyncio.sleep(0)
    monkeypatch.setattr(pool, "IDLE_S_MAX", 1e-9)
    monkeypatch.setattr(pool, "_CHECK_AFTER_S", 0)
    await client.health.live()
    assert len(server.peers) == 5


@pytest.mark.parametrize(
    "test",
    [
        test_calls_one_after_another_share_a_connection_and_calls_at_a_time_do_not,
        test_a_body_without_a_length_ends_with_the_connection,
        test_a_repeatable_call_is_sent_again_where_the_server_closed_the_idle_connection,
        test_unexpected_bytes_close_an_idle_connection,
        test_a_server_that_does_not_answer_times_out,
        test_a_server_that_does_not_read_times_out,
    ],
)
def test_the_same_on_uvloop(test):
    on_uvloop(test)
