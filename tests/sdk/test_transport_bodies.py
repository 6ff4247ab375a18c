"""Uploads and streams over the async client's own connections."""

import asyncio

import pytest

from runstead.sdk import Calls, NoAnswerError, RunsteadError, UnexpectedAnswerError
from runstead.sdk.routes.call import Call

from .raw_server import OK, answers, on_uvloop, response, servers


@pytest.fixture
async def serve():
    async with servers() as make:
        yield make


async def test_large_bodies_arrive_completely(serve, tmp_path):
    stored = {"name": "n", "media_type": "t", "size": 1, "sha256": "s", "uri": "u"}
    body = b'{"stored":true,"artifact":{"name":"n","media_type":"t","size":1,"sha256":"s","uri":"u"}}'
    server, client = await serve(answers(*[response(body)] * 3))
    file = tmp_path / "file"
    file.write_bytes(bytes(range(256)) * 8000)
    answer = await client.artifacts.store("r", "n", file)
    assert answer.artifact.name == stored["name"]
    await client.artifacts.store("r", "n", b"")
    await client.request(Call("POST", "/x", bytes, body={"text": "z" * 5_000_000}))
    first, empty, text = server.peers[0].bodies
    assert (first, empty, len(text)) == (file.read_bytes(), b"", 5_000_011)
    assert "Content-Length: 2048000" in server.requests[0]


async def test_a_refusal_ends_an_upload_that_the_server_does_not_read(serve):
    async def script(peer):
        await peer.reader.readuntil(b"\r\n\r\n")
        peer.writer.transport.pause_reading()
        body = b'{"detail":"Too large","code":"ARTIFACT_TOO_LARGE"}'
        await peer.send(response(body, status="413 Content Too Large"))
        await asyncio.Event().wait()

    server, client = await serve(script, answers(OK))
    with pytest.raises(RunsteadError, match="ARTIFACT_TOO_LARGE"):
        await client.artifacts.store("r", "n", b"x" * 50_000_000)
    await client.health.live()
    assert len(server.peers) == 2


async def test_a_file_that_shrinks_on_its_way_is_an_error(serve, tmp_path):
    _, client = await serve(answers(OK))
    file = tmp_path / "file"
    file.write_bytes(b"x" * 100)
    call = Calls().artifacts.store("r", "n", file)
    file.write_bytes(b"x" * 60)
    with pytest.raises(NoAnswerError, match="40 bytes before its announced length") as caught:
        await client.request(call)
    assert caught.value.permanent


async def test_an_encoded_answer_is_an_error(serve):
    _, client = await serve(answers(response(b"\x1f\x8b\x08\x00", "Content-Encoding: gzip")))
    with pytest.raises(UnexpectedAnswerError):
        await client.health.live()


STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def frame(number, kind="CUSTOM"):
    data = b'id: %d\nevent: X\ndata: {"type":"%s"}\n\n' % (number, kind.encode())
    return b"%x\r\n%s\r\n" % (len(data), data)


async def test_a_stream_is_read_as_it_comes_and_closed_with_its_connection(serve):
    seen = asyncio.Event()

    async def script(peer):
        await peer.request()
        await peer.send(STREAM + frame(1))
        await seen.wait()
        await peer.send(frame(2))
        await peer.wait_until_closed()

    server, client = await serve(script)
    following = client.events.follow("r")
    assert (await anext(following)).event_id == 1
    seen.set()
    assert (await anext(following)).event_id == 2
    await following.aclose()
    await server.peers[0].gone.wait()


async def test_a_broken_stream_continues_over_another_connection(serve):
    async def script(peer):
        await peer.request()
        await peer.send(STREAM + frame(1) + frame(2)[:9])

    server, client = await serve(script, answers(STREAM + frame(2) + frame(3, "RUN_FINISHED")), retries=1)
    following = client.events.follow("r")
    assert [(await anext(following)).event_id for _ in range(3)] == [1, 2, 3]
    assert "Last-Event-ID: 1" in server.requests[1]
    await following.aclose()


async def test_a_refused_stream_is_an_error(serve):
    _, client = await serve(answers(response(b'{"detail":"No","code":"NOT_FOUND"}', status="404 Not Found")))
    with pytest.raises(RunsteadError, match="NOT_FOUND"):
        await anext(client.events.follow("r"))


async def test_a_stream_is_buffered_up_to_a_bound(serve):
    """A follower that does not read slows the server down, and does not fill the client's memory."""
    sent = 0

    async def script(peer):
        nonlocal sent
        await peer.request()
        await peer.send(STREAM)
        while sent < 100_000_000:
            await peer.send(b"10000\r\n" + b":" * 0x10000 + b"\r\n")
            sent += 0x10000

    _, client = await serve(script)
    request = client._stream_request(Call("GET", "/x", type(None)))
    async with client._transport.stream(request) as (_, chunks):
        first = len(await anext(chunks))
        before = -1
        while before != sent:  # until nothing moves any more
            before = sent
            await asyncio.sleep(0.05)
        assert sent < 50_000_000
        read = first
        while read < before:
            read += len(await anext(chunks))
        assert sent > before


@pytest.mark.parametrize(
    "test",
    [
        test_a_refusal_ends_an_upload_that_the_server_does_not_read,
        test_a_stream_is_buffered_up_to_a_bound,
    ],
)
def test_the_same_on_uvloop(test):
    on_uvloop(test)
