"""Every answer has an X-Request-Id, which problems, log lines and principals have too."""

import asyncio
import io
import json
import re

import pytest
import structlog
from msgspec.structs import replace

from runstead.core import limits
from runstead.core.identity.principal import Origin
from runstead.core.identity.tenant import current_request_id
from runstead.http.framework.app import operations
from runstead.http.framework.connections import Bounds
from runstead.http.framework.endpoint import Endpoint
from runstead.http.framework.origin import TrustedProxies
from runstead.server.settings import SettingError, load
from runstead.server.telemetry import add_request_id
from runstead.web.framework.app import WebApp
from runstead.web.framework.dispatch import Dispatch

from .wire import HEALTH, Wires, body_of, request, sent

_LINE = re.compile(rb"\r\nx-request-id: ([^\r]*)\r\n")
_VALID = re.compile(rb"[A-Za-z0-9._-]{1,128}")


def ids(data):
    return _LINE.findall(data)


@pytest.fixture(params=["plain", "asgi"])
def wires(request, driver):
    return Wires(driver.http_app, plain=request.param == "plain")


@pytest.fixture
def auth(driver):
    return {"authorization": f"Bearer {driver.keys['admin']}"}


@pytest.mark.parametrize("given", ["a", "0b1C-2._", "x" * 128])
async def test_a_valid_request_id_is_taken_over(wires, given):
    assert ids(await wires.ask(request("GET", "/healthz", x_request_id=given))) == [given.encode()]


@pytest.mark.parametrize("given", ["", "x" * 129, "a b", "a/b", "é", "<script>"])
async def test_an_invalid_request_id_is_replaced(wires, given):
    [made] = ids(await wires.ask(request("GET", "/healthz", x_request_id=given)))
    assert _VALID.fullmatch(made)
    assert made != given.encode()


async def test_made_request_ids_are_unique(wires):
    made = [ids(await wires.ask(HEALTH))[0] for _ in range(50)]
    assert len(set(made)) == 50


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/runs", 401),
        ("GET", "/nowhere", 404),
        ("GET", "/runs/a%2fb", 404),
        ("PUT", "/healthz", 405),
        ("POST", "/triggers/none", 404),
    ],
)
async def test_a_problem_has_the_request_id_of_its_answer(wires, method, path, status):
    answer = await wires.ask(request(method, path, x_request_id="mine"))
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert ids(answer) == [b"mine"]
    assert json.loads(body_of(answer))["request_id"] == "mine"


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"GET /healthz HTTP/1.1\r\nx: " + b"y" * limits.header_bytes_max,
        b"GET /" + b"y" * limits.url_bytes_max + b" HTTP/1.1\r\n\r\n",
    ],
)
async def test_an_error_of_the_protocol_has_a_request_id(wires, data):
    answer = await wires.ask(data)
    [made] = ids(answer)
    assert _VALID.fullmatch(made)
    assert json.loads(body_of(answer))["request_id"] == made.decode()


async def test_a_late_body_is_refused_with_the_request_id_of_its_header(wires, auth):
    protocol = wires.open()
    protocol.data_received(request("POST", "/runs", b"{}", x_request_id="slow", **auth)[:-1])
    await asyncio.sleep(0)
    wires.connections.enforce(asyncio.get_running_loop().time() + limits.body_s_max + 1)
    await wires.settle()
    assert b" 408 " in sent(protocol)
    assert ids(sent(protocol)) == [b"slow"]


async def test_a_refused_connection_has_a_request_id(driver):
    wires = Wires(driver.http_app, given=Bounds(1, 1, 16))
    busy = wires.open()
    busy.flow.pause_writing()
    busy.data_received(HEALTH)
    assert len(ids(sent(wires.open()))) == 1
    busy.flow.resume_writing()
    await wires.settle()


async def test_pipelined_answers_have_the_ids_of_their_requests(wires, auth):
    data = b"".join(
        request("GET", path, x_request_id=f"r{n}", **auth)
        for n, path in enumerate(["/runs", "/openapi.json"] * 2)
    )
    assert ids(await wires.ask(data)) == [b"r0", b"r1", b"r2", b"r3"]


async def test_streams_and_pages_have_a_request_id(driver, auth):
    run_id = (await driver.create())["run_id"]
    await driver.complete(run_id)
    app = Dispatch(
        driver.http_app, WebApp(driver.app, driver.http_app.router.endpoints[0]._server.authenticator)
    )
    wires = Wires(driver.http_app)
    wires.config.loaded_app = app
    for path in (
        f"/runs/{run_id}/stream",
        "/docs",
        "/",
        "/ui",
        "/ui/sign-in",
        "/ui/nowhere",
        "/ui/static/0/none",
    ):
        answer = await wires.ask(request("GET", path, x_request_id="mine", accept="text/html", **auth))
        assert ids(answer) == [b"mine"], path
    page = await wires.ask(request("GET", "/ui/static/0/none", x_request_id="shown"))
    assert b"<code>shown</code>" in page


async def test_a_page_of_another_origin_may_read_the_request_id(driver):
    wires = Wires(driver.http_app, origins=("https://app.example",))
    asked = {"origin": "https://app.example", "access_control_request_method": "GET"}
    preflight = await wires.ask(
        request(
            "OPTIONS", "/runs", access_control_request_headers="x-request-id", x_request_id="pre", **asked
        )
    )
    assert preflight.startswith(b"HTTP/1.1 200 ")
    assert ids(preflight) == [b"pre"]
    assert b"X-Request-Id" in await wires.ask(request("GET", "/healthz", origin="https://app.example"))


async def test_an_error_that_the_server_logs_has_the_request_id_in_its_line(driver, wires, monkeypatch, auth):
    async def broken(*_):
        raise RuntimeError("broken")

    monkeypatch.setattr(Endpoint, "_respond", broken)
    lines, before = io.StringIO(), structlog.get_config()
    structlog.configure(
        processors=[add_request_id, structlog.processors.JSONRenderer()],
        logger_factory=structlog.PrintLoggerFactory(lines),
        cache_logger_on_first_use=False,
    )
    try:
        answer = await wires.ask(request("GET", "/runs", x_request_id="logged", **auth))
    finally:
        structlog.configure(**before)
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert json.loads(lines.getvalue())["request_id"] == "logged"
    assert current_request_id.get() is None


@pytest.fixture
def principals(driver, monkeypatch):
    """The principals that the handlers of `GET /runs` and `POST /runs` receive."""
    found = []
    for one in operations():
        if one.path != "/runs":
            continue

        async def handler(call, then=one.handler):
            found.append(call.principal)
            return await then(call)

        endpoint, _ = driver.http_app.router.find("/runs")
        monkeypatch.setitem(endpoint._operations, one.method, replace(one, handler=handler))
    return found


async def test_a_principal_knows_where_its_request_came_from(driver, wires, principals, auth):
    body = json.dumps(driver.task()).encode()
    for name in ("first", "second"):  # the authenticator returns the same principal for both
        await wires.ask(request("POST", "/runs", body, x_request_id=name, **auth))
    assert [one.origin for one in principals] == [
        Origin("192.0.2.1", "first"),
        Origin("192.0.2.1", "second"),
    ]


@pytest.mark.parametrize(
    ("peer", "forwarded", "caller"),
    [
        ("10.0.0.1", ["198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", ["203.0.113.9, 198.51.100.7"], "198.51.100.7"),  # the first may be invented
        ("10.0.0.1", ["203.0.113.9, 198.51.100.7, 10.1.2.3"], "198.51.100.7"),
        ("10.0.0.1", ["203.0.113.9", "198.51.100.7"], "198.51.100.7"),
        ("::ffff:10.0.0.1", ["198.51.100.7:4711"], "198.51.100.7"),
        ("10.0.0.1", ["[2001:db8::1]:4711"], "2001:db8::1"),
        ("10.0.0.1", ["198.51.100.7, unknown"], "10.0.0.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("192.0.2.1", ["198.51.100.7"], "192.0.2.1"),
    ],
)
async def test_only_a_trusted_proxy_names_the_address_of_its_caller(
    driver, principals, auth, peer, forwarded, caller
):
    for plain in (True, False):
        wires = Wires(driver.http_app, plain=plain)
        wires.connections.proxies = TrustedProxies(["10.0.0.0/8"])
        lines = "".join(f"X-Forwarded-For: {value}\r\n" for value in forwarded).encode()
        asked = request("GET", "/runs", **auth).removesuffix(b"\r\n") + lines + b"\r\n"
        await wires.ask(asked, wires.open(peer))
    assert [one.origin.address for one in principals] == [caller, caller]


async def test_connections_of_a_trusted_proxy_have_no_limit_per_address(driver):
    wires = Wires(driver.http_app, given=Bounds(100, 2, 16))
    wires.connections.proxies = TrustedProxies(["10.0.0.1"])
    busy = [wires.open("10.0.0.1") for _ in range(5)]
    for protocol in busy:
        protocol.flow.pause_writing()
        protocol.data_received(HEALTH)
    assert [sent(protocol) for protocol in busy] == [b""] * 5
    for protocol in busy:
        protocol.flow.resume_writing()
    await wires.settle()


def test_trusted_proxies_are_addresses_and_networks():
    assert load({"RUNSTEAD_TRUSTED_PROXIES": "127.0.0.1, 10.0.0.0/8"}).trusted_proxies == (
        "127.0.0.1",
        "10.0.0.0/8",
    )
    with pytest.raises(SettingError, match=r"not 'proxy\.example'"):
        load({"RUNSTEAD_TRUSTED_PROXIES": "proxy.example"})
