import asyncio

import pytest

from runstead.bench.connection import Connection, DroppedError, Target

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


async def consume(reader):
    """Read one bodiless request; False once the client is gone."""
    try:
        await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return False
    return True


def scripted(*answers):
    """A handler that answers the n-th request, over all connections, with answers[n]; None drops the connection.

    An answer is bytes, or a list of bytes that are written one by one. After the last answer it closes.
    """
    left = list(answers)
    connections = []

    async def handler(reader, writer):
        connections.append(writer)
        while left and await consume(reader):
            answer = left.pop(0)
            if answer is None:
                return
            for piece in answer if isinstance(answer, list) else [answer]:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)
            if b"close" in b"".join(answer if isinstance(answer, list) else [answer]):
                return

    handler.connections = connections
    return handler


@pytest.fixture
async def connect(serve):
    opened = []

    async def start(handler, **options):
        connection = Connection(Target.from_url(await serve(handler)), **options)
        opened.append(connection)
        return connection

    yield start
    for connection in opened:
        connection.close()


async def get(connection, path="/x"):
    return await connection.request("GET", path, b"", connection.target.headers("k"))


async def test_requests_share_one_connection_and_each_is_timed(connect):
    handler = scripted(OK, b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", OK)
    connection = await connect(handler)
    assert await get(connection) == (200, b"ok")
    first_ns = connection.answered_ns
    assert connection.elapsed_ns > 0
    assert await get(connection) == (404, b"")
    assert await get(connection) == (200, b"ok")
    assert connection.answered_ns - connection.elapsed_ns > first_ns
    assert len(handler.connections) == 1
    assert connection.drops == 0


async def test_the_request_on_the_wire_is_complete(connect):
    seen = []

    async def handler(reader, writer):
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        seen.append(await reader.readexactly(3))
        writer.write(OK)
        await reader.read()

    connection = await connect(handler)
    headers = connection.target.headers("secret", x_lease_token="lease")
    await connection.request("POST", "/runs/a%2Fb?x=1", b"{1}", headers)
    head, body = seen
    port = connection.target.port
    assert head.split(b"\r\n")[:-2] == [
        b"POST /runs/a%2Fb?x=1 HTTP/1.1",
        b"Content-Length: 3",
        b"Host: 127.0.0.1:%d" % port,
        b"Authorization: Bearer secret",
        b"Content-Type: application/json",
        b"x-lease-token: lease",
    ]
    assert body == b"{1}"


async def test_a_chunked_answer_in_pieces_is_one_body(connect):
    pieces = [
        b"HTTP/1.1 200 OK\r\ntransfer-enc",
        b"oding: chunked\r\n\r\n3\r\nab",
        b"c\r\n4\r\ndefg\r\n",
        b"0\r\n\r\n",
    ]
    connection = await connect(scripted(pieces, OK))
    assert await get(connection) == (200, b"abcdefg")
    assert await get(connection) == (200, b"ok")


async def test_an_interim_answer_is_ignored(connect):
    connection = await connect(scripted(b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + OK))
    assert await get(connection) == (200, b"ok")


async def test_connection_close_is_honoured_and_no_error(connect):
    closing = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok"
    handler = scripted(closing, OK)
    connection = await connect(handler)
    assert await get(connection) == (200, b"ok")
    assert not connection.is_open
    assert await get(connection) == (200, b"ok")
    assert len(handler.connections) == 2
    assert connection.drops == 0


async def test_a_body_without_a_length_ends_with_the_connection(connect):
    connection = await connect(scripted([b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nwho", b"le"]))
    assert await get(connection) == (200, b"whole")


async def test_a_drop_before_the_answer_is_counted_and_the_next_request_reconnects(connect):
    handler = scripted(OK, None, OK)
    connection = await connect(handler)
    await get(connection)
    with pytest.raises(DroppedError, match="before the answer"):
        await get(connection)
    assert connection.drops == 1
    assert await get(connection) == (200, b"ok")
    assert len(handler.connections) == 2


@pytest.mark.parametrize(
    "half",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nhalf",
        b"HTTP/1.1 200 OK\r\nconte",
    ],
)
async def test_an_incomplete_answer_is_a_drop(connect, half):
    connection = await connect(scripted(half))
    with pytest.raises(DroppedError, match="within the answer"):
        await get(connection)
    assert connection.drops == 1


async def test_an_answer_that_is_not_http_is_a_drop(connect):
    connection = await connect(scripted(b"220 mail ready\r\n"))
    with pytest.raises(DroppedError, match="not an HTTP"):
        await get(connection)


async def test_no_answer_in_time_is_a_drop(connect):
    async def silent(reader, writer):
        await reader.read()

    connection = await connect(silent, timeout_s=0.05)
    with pytest.raises(DroppedError, match=r"no answer within 0\.05 s"):
        await get(connection)
    assert not connection.is_open


async def test_a_cancelled_request_leaves_no_answer_to_the_next_one(connect):
    asked, answers = asyncio.Event(), [b"late", b"mine"]

    async def handler(reader, writer):
        while await consume(reader):
            asked.set()
            body = answers.pop(0)
            if body == b"mine":
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nmine")

    connection = await connect(handler)
    task = asyncio.create_task(get(connection))
    await asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await get(connection) == (200, b"mine")


async def test_an_unreachable_server_is_a_drop():
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    connection = Connection(Target.from_url(f"http://127.0.0.1:{port}"))
    with pytest.raises(DroppedError, match="cannot connect"):
        await get(connection)
    assert connection.drops == 1


def test_a_base_url_gives_host_port_and_prefix():
    target = Target.from_url("https://runs.example.org/api/")
    assert (target.host, target.port, target.tls) == ("runs.example.org", 443, True)
    assert (target.authority, target.prefix) == ("runs.example.org", "/api")
    assert Target.from_url("http://[::1]:8720").host == "::1"
    with pytest.raises(ValueError, match="not an http or https URL"):
        Target.from_url("ftp://runs.example.org")
