"""The HTTP protocol: limits and deadlines of reading, and the order of answers."""

import asyncio

import pytest
from msgspec.structs import replace

from runstead.core import limits
from runstead.http.framework.endpoint import Reply
from runstead.ports import metrics

from .wire import HEALTH, Wires, answers, body_of, request, sent, status_of

OK = b'{"status":"ok"}'
CLAIM = b'{"wait_seconds": 30, "kinds": ["task"]}'


@pytest.fixture
def wires(driver):
    return Wires(driver.http_app)


@pytest.fixture
async def auth(driver):
    """A credential that the server has verified: no read of the store comes before the body."""
    assert (await driver.get("/projects", by="admin"))["data"]
    return {"authorization": f"Bearer {driver.keys['admin']}"}


def later(wires, seconds):
    """Enforce deadlines as if so many seconds had passed."""
    wires.connections.enforce(asyncio.get_running_loop().time() + seconds)


def chunk(data):
    return b"%x\r\n%b\r\n" % (len(data), data)


# The header


def with_header_of(size):
    """Return a valid request whose header has this number of bytes."""
    head = b"GET /healthz HTTP/1.1\r\nhost: runstead.test\r\nx: "
    counted = len("/healthz") + len("host") + len("runstead.test") + 4 + len("x") + 4
    return head + b"a" * (size - counted) + b"\r\n\r\n"


@pytest.mark.parametrize("read", [limits.header_bytes_max * 4, 1_000])
async def test_a_header_is_accepted_up_to_its_bound_and_refused_above_it(wires, read):
    for size, status in ((limits.header_bytes_max - 100, 200), (limits.header_bytes_max + 100, 431)):
        protocol, raw = wires.open(), with_header_of(size)
        for start in range(0, len(raw), read):
            protocol.data_received(raw[start : start + read])
        await wires.settle()
        assert answers(protocol) == [status]


@pytest.mark.parametrize(
    "endless",
    [b"a" * 1_000, b"x: y\r\n" * 100, b"\r\n" * 500],
    ids=["one header", "many headers", "line breaks"],
)
async def test_an_endless_header_is_refused_when_it_is_too_large(wires, endless):
    protocol = wires.open()
    protocol.data_received(b"" if endless[:1] == b"\r" else b"GET /healthz HTTP/1.1\r\nhost: a\r\nx: ")
    pieces = 0
    while not protocol.transport.writes:
        protocol.data_received(endless)
        pieces += 1
    assert pieces * len(endless) <= limits.header_bytes_max + len(endless)
    assert answers(protocol) == [431]
    assert b"HEADERS_TOO_LARGE" in sent(protocol)
    assert protocol.transport.ended
    protocol.data_received(endless * 100)  # discarded
    assert answers(protocol) == [431]
    later(wires, limits.refused_s_max + 1)
    assert protocol.transport.aborted


async def test_a_large_header_after_a_body_in_one_read_is_refused_too(wires, auth):
    body = b'{"a": "' + b"b" * 40_000 + b'"}'
    first = request("POST", "/runs", body, **auth)
    protocol = wires.open()
    protocol.data_received(first + with_header_of(limits.header_bytes_max + 100))
    await wires.settle()
    assert answers(protocol) == [400]
    assert protocol.transport.closing
    protocol = wires.open()
    protocol.data_received(first + with_header_of(limits.header_bytes_max - 100))
    await wires.settle()
    assert answers(protocol) == [400, 200]


async def test_a_long_url_is_refused_while_it_arrives(wires):
    fits = await wires.ask(request("GET", "/healthz?" + "a" * (limits.url_bytes_max - 100)))
    assert status_of(fits) == 200
    protocol = wires.open()
    protocol.data_received(b"GET /healthz?")
    for _ in range(limits.url_bytes_max // 1_000 + 1):
        protocol.data_received(b"a" * 1_000)
    assert answers(protocol) == [414]
    assert b"URL_TOO_LONG" in sent(protocol)


async def test_data_that_is_not_http_is_refused(wires):
    answer = await wires.ask(b"SSH-2.0-OpenSSH_9.2\r\n")
    assert status_of(answer) == 400
    assert b"The request is not HTTP/1.1" in body_of(answer)


# Deadlines


async def test_a_silent_connection_is_closed_without_an_answer(wires):
    protocol = wires.open()
    later(wires, limits.header_s_max - 1)
    assert not protocol.transport.closing
    later(wires, limits.header_s_max + 1)
    assert protocol.transport.closing
    assert sent(protocol) == b""


async def test_a_slow_header_gets_no_more_time_than_one_that_stops(wires):
    protocol = wires.open()
    for byte in HEALTH[:-1]:
        protocol.data_received(bytes([byte]))
    later(wires, limits.header_s_max + 1)
    assert answers(protocol) == [408]
    assert b"REQUEST_TIMEOUT" in sent(protocol)


async def test_a_connection_may_be_idle_between_requests_for_longer(wires):
    protocol = wires.open()
    await wires.ask(HEALTH, protocol)
    later(wires, limits.idle_s_max - 1)
    assert not protocol.transport.closing
    assert status_of(await wires.ask(HEALTH, protocol)) == 200
    later(wires, limits.idle_s_max + 1)
    assert protocol.transport.closing


@pytest.mark.parametrize(
    "framing", ["content-length: 60000", "transfer-encoding: chunked", "content-length: 6000000"]
)
async def test_a_body_that_stops_arriving_is_refused_and_has_no_effect(driver, wires, framing):
    protocol = wires.open()
    head = f"POST /runs HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {driver.keys['default']}\r\n{framing}\r\n\r\n"
    protocol.data_received(head.encode())
    protocol.data_received(chunk(b"{") if "chunked" in framing else b"{")
    await asyncio.sleep(0)
    later(wires, limits.body_s_max + 1)
    await wires.settle()
    assert answers(protocol) == [408]
    assert await driver.nothing_stored()


async def test_a_body_that_arrives_fast_enough_has_no_deadline(driver, wires, auth):
    protocol = wires.open()
    size = limits.body_bytes_per_s_min * int(limits.body_s_max) * 5
    head = f"POST /runs HTTP/1.1\r\nhost: a\r\nauthorization: {auth['authorization']}\r\ncontent-length: {size}\r\n\r\n"
    protocol.data_received(head.encode())
    for _ in range(4):
        for _ in range(10):
            protocol.data_received(b" " * (size // 50))
            await asyncio.sleep(0)
        later(wires, limits.body_s_max + 1)
        await asyncio.sleep(0)
    assert answers(protocol) == []
    assert not protocol.transport.closing
    later(wires, limits.body_s_max + 1)
    assert answers(protocol) == [408]
    await wires.settle()


async def test_a_body_that_the_server_does_not_read_is_not_late(wires, auth):
    protocol = wires.open()
    protocol.flow.pause_reading()
    head = f"POST /runs HTTP/1.1\r\nhost: a\r\nauthorization: {auth['authorization']}\r\ncontent-length: 9\r\n\r\n"
    protocol.data_received(head.encode())
    later(wires, limits.body_s_max + 1)
    assert answers(protocol) == []
    protocol.data_received(b'{"a": 1} ')
    await wires.settle()
    assert answers(protocol) == [400]


async def test_an_answer_has_no_deadline(driver, wires, auth):
    worker, _ = await driver.worker()
    protocol = wires.open()
    protocol.data_received(request("POST", f"{worker}/claim", CLAIM, **auth))
    await driver.subscribed()
    later(wires, 1_000)
    assert answers(protocol) == []
    assert not protocol.transport.closing
    await driver.create()
    await wires.settle()
    assert answers(protocol) == [200]


# Bodies


async def test_a_chunked_body_is_refused_as_soon_as_it_is_too_large(driver, wires, auth):
    protocol = wires.open()
    head = f"POST /runs HTTP/1.1\r\nhost: a\r\nauthorization: {auth['authorization']}\r\ntransfer-encoding: chunked\r\n\r\n"
    protocol.data_received(head.encode())
    piece, fed = b" " * 65_536, 0
    while not protocol.transport.writes:
        protocol.data_received(chunk(piece))
        fed += len(piece)
        assert len(protocol.cycle.body) <= 2 * len(piece), (
            "the body waits in the handler's hands, not before it"
        )
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert fed <= limits.body_bytes_max + 4 * len(piece)
    assert answers(protocol) == [413]
    assert await driver.nothing_stored()


@pytest.mark.parametrize(
    ("path", "most"),
    [("/triggers/t", limits.trigger_body_bytes_max), ("/runs", limits.body_bytes_max)],
)
async def test_a_body_with_a_large_content_length_is_refused_unread(wires, auth, path, most):
    for length, status in ((most, None), (most + 1, 413)):
        protocol = wires.open()
        head = f"POST {path} HTTP/1.1\r\nhost: a\r\nauthorization: {auth['authorization']}\r\ncontent-length: {length}\r\n\r\n"
        protocol.data_received(head.encode())
        await asyncio.sleep(0.01)
        assert answers(protocol) == ([status] if status else [])
        protocol.transport.close()
        await wires.settle()


@pytest.mark.parametrize(
    "endless", [b"1;" + b"x" * 1_000, b"0\r\nx: " + b"y" * 1_000], ids=["extension", "trailer"]
)
async def test_chunk_extensions_and_trailers_are_bounded(wires, auth, endless):
    protocol = wires.open()
    head = f"POST /runs HTTP/1.1\r\nhost: a\r\nauthorization: {auth['authorization']}\r\ntransfer-encoding: chunked\r\n\r\n"
    protocol.data_received(head.encode() + endless)
    fed = 0
    while not protocol.transport.writes:
        protocol.data_received(b"z" * 1_000)
        fed += 1_000
        assert fed <= limits.header_bytes_max + 2_000
    assert answers(protocol) == [431]
    await wires.settle()


async def test_a_trailer_is_not_a_header(driver, wires):
    trailer = f"0\r\nauthorization: Bearer {driver.keys['admin']}\r\n\r\n"
    head = b"POST /runs HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"
    assert status_of(await wires.ask(head + chunk(b"{}") + trailer.encode())) == 401


async def test_expect_100_continue_is_answered(driver, wires, auth):
    protocol = wires.open()
    protocol.data_received(request("POST", "/runs", b"{}", expect="100-continue", **auth)[:-2])
    await driver.until(lambda: sent(protocol) == b"HTTP/1.1 100 Continue\r\n\r\n")
    protocol.data_received(b"{}")
    await wires.settle()
    assert answers(protocol) == [100, 400]


# The order of answers


async def test_pipelined_requests_are_answered_in_order(wires, auth):
    protocol = wires.open()
    kinds = [
        request("GET", "/runs", **auth),
        request("GET", "/openapi.json"),
        request("GET", "/runs/none", **auth),
        HEALTH,
        request("PUT", "/healthz"),
    ]
    protocol.data_received(b"".join(kinds))
    await wires.settle()
    assert answers(protocol) == [200, 200, 404, 200, 405]
    assert status_of(await wires.ask(HEALTH, protocol)) == 200


async def test_a_plain_answer_is_written_at_once(wires, auth):
    for asked in (HEALTH, request("GET", "/runs", **auth), request("GET", "/runs/none", **auth)):
        protocol = wires.open()
        await wires.ask(asked, protocol)
        assert len(protocol.transport.writes) == 1


async def test_a_refused_pipelined_request_does_not_harm_the_answer_before(driver, wires, auth):
    worker, _ = await driver.worker()
    protocol = wires.open()
    protocol.data_received(request("POST", f"{worker}/claim", CLAIM, **auth))
    await driver.subscribed()
    protocol.data_received(b"GET /" + b"a" * limits.url_bytes_max)
    assert sent(protocol) == b""
    await driver.create()
    await wires.settle()
    assert answers(protocol) == [200]
    assert b"connection: close" in sent(protocol)
    assert protocol.transport.closing


async def test_an_answer_waits_until_the_previous_one_is_read(wires):
    protocol = wires.open()
    protocol.flow.pause_writing()
    protocol.data_received(HEALTH)
    await asyncio.sleep(0.01)
    assert sent(protocol) == b""
    protocol.flow.resume_writing()
    await wires.settle()
    assert answers(protocol) == [200]


@pytest.mark.parametrize(
    "asked",
    [
        b"GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
        b"GET /healthz HTTP/1.0\r\nhost: a\r\n\r\n",
    ],
)
async def test_connection_close_gets_one_answer_and_the_end(wires, asked):
    protocol = wires.open()
    answer = await wires.ask(asked, protocol)
    assert body_of(answer) == OK
    assert b"\r\nconnection: close\r\n" in answer
    assert protocol.transport.closing


async def test_a_server_that_stops_lets_open_requests_finish(driver, wires, auth):
    worker, _ = await driver.worker()
    idle, busy = wires.open(), wires.open()
    await wires.ask(HEALTH, idle)
    busy.data_received(request("POST", f"{worker}/claim", CLAIM, **auth))
    await driver.subscribed()
    for protocol in (idle, busy):
        protocol.shutdown()
    assert idle.transport.closing
    await driver.create()
    await wires.settle()
    assert answers(busy) == [200]
    assert b"connection: close" in sent(busy)
    assert busy.transport.closing


async def test_a_stopping_server_serves_the_request_of_a_new_connection(wires):
    fresh, begun = wires.open(), wires.open()
    begun.data_received(HEALTH[:10])
    for protocol in (fresh, begun):
        protocol.shutdown()
        assert not protocol.transport.closing
    fresh.data_received(HEALTH)
    begun.data_received(HEALTH[10:])
    await wires.settle()
    for protocol in (fresh, begun):
        assert answers(protocol) == [200]
        assert b"connection: close" in sent(protocol)
        assert protocol.transport.closing


async def test_a_stopping_server_waits_only_briefly_for_a_silent_connection(wires, monkeypatch):
    monkeypatch.setattr(limits, "last_request_s", 0)
    silent = wires.open()
    silent.shutdown()
    await asyncio.sleep(0.001)  # a due timer runs before this one
    assert silent.transport.closing


# Callers that disconnect


@pytest.mark.parametrize("way", ["plain", "asgi", "with another request behind it"])
async def test_no_run_is_leased_to_a_caller_that_disconnected(driver, wires, auth, way):
    worker, _ = await driver.worker()
    extra = {"expect": "100-continue"} if way == "asgi" else {}
    protocol = wires.open()
    protocol.data_received(request("POST", f"{worker}/claim", CLAIM, **extra, **auth))
    await driver.subscribed()
    if way.startswith("with"):
        protocol.data_received(HEALTH)
    protocol.transport.close()
    await asyncio.sleep(0)
    run = await driver.create()
    await wires.settle()
    assert (await driver.run(run["run_id"]))["status"] == "pending"
    assert b"HTTP/1.1 200" not in sent(protocol)


@pytest.mark.parametrize("part", [10, -30, -1], ids=["header", "end of the header", "body"])
async def test_an_incomplete_request_of_a_disconnected_caller_has_no_effect(driver, wires, auth, part):
    protocol = wires.open()
    protocol.data_received(request("POST", "/runs", b'{"kind": "task"}', **auth)[:part])
    protocol.transport.close()
    await asyncio.sleep(0)
    await wires.settle()
    assert sent(protocol) == b""
    assert await driver.nothing_stored()
    assert not wires.connections.header.since
    assert not wires.connections.body.since


# Metrics and headers of answers


async def test_plain_answers_are_counted_in_metrics(wires, auth):
    def counted():
        return (
            metrics.registry.get_sample_value(
                "runstead_http_requests_total", {"route": "/runs/{run_id}", "method": "GET", "status": "404"}
            )
            or 0
        )

    before = counted()
    await wires.ask(request("GET", "/runs/none", **auth))
    await wires.ask(request("GET", "/runs/%6eone", **auth))
    assert counted() == before + 2


async def test_a_name_in_a_header_cannot_inject_another_header(driver, wires, auth, monkeypatch):
    endpoint, _ = driver.http_app.router.find("/healthz")

    async def answer(call):
        return Reply(200, {}, {"Location": "/runs/a\r\nset-cookie: b"})

    health = replace(endpoint._operations["GET"], handler=answer)
    monkeypatch.setitem(endpoint._operations, "GET", health)
    got = await wires.ask(HEALTH)
    assert status_of(got) == 500
    assert b"set-cookie" not in got


async def test_pages_of_other_origins_get_the_same_headers_on_every_route(driver, auth):
    origin = "https://app.example"
    wires = Wires(driver.http_app, origins=(origin,))
    for path in ("/healthz", "/runs", "/runs/none"):
        asked = request("GET", path, x_request_id="same", **auth)
        alone = await wires.ask(asked)
        assert b"access-control" not in alone
        crossing = await wires.ask(asked.replace(b"host:", f"origin: {origin}\r\nhost:".encode()))
        assert f"access-control-allow-origin: {origin}\r\n".encode() in crossing
        assert body_of(crossing) == body_of(alone)
    assert b"access-control" not in await Wires(driver.http_app).ask(
        HEALTH.replace(b"host:", b"origin: x\r\nhost:")
    )
