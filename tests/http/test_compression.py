"""Answers above 1 KiB are compressed for clients that accept gzip, on both request paths."""

import gzip
import json
import threading

import pytest

from runstead.core import limits
from runstead.http.framework import compression
from runstead.http.framework.compression import accepts_gzip
from runstead.web.framework import assets
from runstead.web.framework.app import WebApp
from runstead.web.framework.dispatch import Dispatch

from .wire import Wires, body_of, request, status_of


@pytest.fixture(params=["plain", "asgi"])
def wires(request, driver):
    return Wires(driver.http_app, plain=request.param == "plain")


@pytest.fixture
def auth(driver):
    return {"authorization": f"Bearer {driver.keys['admin']}"}


def header(answer, name):
    head = answer.partition(b"\r\n\r\n")[0].decode("latin-1")
    found = [line.partition(": ")[2] for line in head.split("\r\n")[1:] if line.startswith(f"{name}: ")]
    assert len(found) <= 1
    return found[0] if found else None


async def large_run(driver):
    return (await driver.create(driver.task(request={"input": {"text": "what it does " * 300}})))["run_id"]


async def test_a_large_answer_is_compressed_for_a_client_that_accepts_gzip(driver, wires, auth):
    path = f"/runs/{await large_run(driver)}"
    whole = await wires.ask(request("GET", path, **auth))
    small = await wires.ask(request("GET", path, accept_encoding="gzip, deflate", **auth))
    assert header(small, "content-encoding") == "gzip"
    assert header(small, "content-length") == str(len(body_of(small)))
    assert gzip.decompress(body_of(small)) == body_of(whole)
    assert 5 * len(body_of(small)) < len(body_of(whole))


async def test_a_client_that_does_not_accept_gzip_gets_the_same_answer_as_before(driver, wires, auth):
    path = f"/runs/{await large_run(driver)}"
    for accepted in ({}, {"accept_encoding": "identity"}, {"accept_encoding": "gzip;q=0"}):
        answer = await wires.ask(request("GET", path, **auth, **accepted))
        assert header(answer, "content-encoding") is None
        assert header(answer, "vary") == "Accept-Encoding"
        assert json.loads(body_of(answer))["etag"] == header(answer, "etag")


async def test_a_small_answer_is_never_compressed(wires):
    answer = await wires.ask(request("GET", "/healthz", accept_encoding="gzip"))
    assert header(answer, "content-encoding") is header(answer, "vary") is None
    assert body_of(answer) == b'{"status":"ok"}'


@pytest.mark.parametrize(
    ("accepted", "allowed"),
    [
        (b"gzip", True), (b"GZIP", True), (b"deflate, gzip;q=0.5", True), (b"*", True), (b"gzip ; q=1.0", True),
        (b"br", False), (b"gzip;q=0", False), (b"gzip;q=0.000, br", False), (b"*;q=0", False), (b"ungzip", False),
        (b"", False),
    ],
)  # fmt: skip
def test_accept_encoding_is_read_with_its_weights(accepted, allowed):
    assert accepts_gzip(accepted) == allowed


async def test_the_compressed_form_has_a_tag_of_its_own_that_every_condition_accepts(driver, wires, auth):
    path = f"/runs/{await large_run(driver)}"
    plain = header(await wires.ask(request("GET", path, **auth)), "etag")
    tag = header(await wires.ask(request("GET", path, accept_encoding="gzip", **auth)), "etag")
    assert tag == plain[:-1] + '-gzip"'
    for known in (plain, tag, f"W/{tag}", f'"other", {tag}'):
        fresh = await wires.ask(request("GET", path, if_none_match=known, accept_encoding="gzip", **auth))
        assert (status_of(fresh), body_of(fresh)) == (304, b"")
        assert header(fresh, "etag") == (tag if tag in known else plain)
    changed = await wires.ask(request("PATCH", path, b'{"title":"new"}', if_match=tag, **auth))
    assert status_of(changed) == 200
    stale = await wires.ask(request("PATCH", path, b'{"title":"newer"}', if_match=tag, **auth))
    assert status_of(stale) == 412
    assert status_of(await wires.ask(request("GET", path, if_none_match=tag, **auth))) == 200


async def test_head_has_the_headers_of_the_compressed_answer(driver, wires, auth):
    path = f"/runs/{await large_run(driver)}"
    got, head = [
        await wires.ask(request(method, path, accept_encoding="gzip", **auth)) for method in ("GET", "HEAD")
    ]
    for name in ("content-encoding", "content-length", "etag", "vary"):
        assert header(head, name) == header(got, name) is not None
    assert body_of(head) == b""


async def test_a_stream_is_not_compressed(driver, wires, auth):
    run_id = await large_run(driver)
    await driver.append(run_id, {"type": "CUSTOM", "name": "n", "value": "x" * 5_000})
    await driver.complete(run_id)
    answer = await wires.ask(request("GET", f"/runs/{run_id}/stream", accept_encoding="gzip", **auth))
    assert header(answer, "content-encoding") is None
    assert b"x" * 5_000 in answer


async def test_an_answer_with_a_new_secret_is_not_compressed(wires, auth, monkeypatch):
    monkeypatch.setattr(limits, "gzip_write_bytes_min", 1)
    sent = {"accept_encoding": "gzip", **auth}
    made = await wires.ask(request("POST", "/projects/inventory/api-keys", b'{"name":"n"}', **sent))
    assert status_of(made) == 201
    assert b'"key":"vf_' in body_of(made)
    listed = await wires.ask(request("POST", "/conversations", b"{}", **sent))  # no secret: compressed
    assert header(listed, "content-encoding") == "gzip"


@pytest.mark.parametrize(("size", "in_loop"), [(20_000, True), (200_000, False)])
async def test_a_large_answer_is_compressed_beside_the_event_loop(
    driver, wires, auth, monkeypatch, size, in_loop
):
    threads, compress = [], compression.compress

    def recorded(body):
        threads.append(threading.current_thread() is threading.main_thread())
        return compress(body)

    monkeypatch.setattr(compression, "compress", recorded)
    run_id = (await driver.create(driver.task(request={"input": "x" * size})))["run_id"]
    threads.clear()
    answer = await wires.ask(request("GET", f"/runs/{run_id}", accept_encoding="gzip", **auth))
    assert json.loads(gzip.decompress(body_of(answer)))["input"] == "x" * size
    assert threads == [in_loop]


async def test_pages_and_static_files_are_compressed(driver):
    wires = Wires(driver.http_app)
    authenticator = driver.http_app.router.endpoints[0]._server.authenticator
    wires.config.loaded_app = Dispatch(driver.http_app, WebApp(driver.app, authenticator))
    script = next(name for name in assets.FILES.paths if name.endswith(".js"))
    for path in ("/openapi.json", "/ui/sign-in", assets.address(script)):
        whole = await wires.ask(request("GET", path))
        small = await wires.ask(request("GET", path, accept_encoding="gzip"))
        assert header(small, "content-encoding") == "gzip", path
        assert header(small, "vary") == header(whole, "vary") == "Accept-Encoding"
        assert gzip.decompress(body_of(small)) == body_of(whole)


async def test_both_request_paths_compress_to_the_same_bytes(driver, auth):
    path = f"/runs/{await large_run(driver)}"
    asked = request("GET", path, accept_encoding="gzip", x_request_id="same", **auth)
    plain, asgi = [await Wires(driver.http_app, plain=plain).ask(asked) for plain in (True, False)]
    assert plain == asgi


async def test_an_answer_that_varies_by_origin_and_encoding_names_both(driver, auth):
    wires = Wires(driver.http_app, origins=("https://app.example",))
    path = f"/runs/{await large_run(driver)}"
    answer = await wires.ask(
        request("GET", path, accept_encoding="gzip", origin="https://app.example", **auth)
    )
    assert {"Accept-Encoding", "Origin"} == {one.strip() for one in header(answer, "vary").split(",")}
