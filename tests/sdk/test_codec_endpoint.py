"""The endpoint that decodes values for browsers: who may call it, and what it answers."""

import json
import os

import httpx2
import pytest

from runstead.sdk import codec_endpoint as module
from runstead.sdk.codec_endpoint import codec_endpoint
from runstead.sdk.codecs import AesGcm
from runstead.sdk.models.value import packed

CODEC = AesGcm({"a": os.urandom(32)}, "a")
OTHER = AesGcm({"b": os.urandom(32)}, "b")
ORIGIN = "https://runs.example.com"


def encoded(value, codec=CODEC):
    return json.loads(bytes(packed(value, codec)))


async def authorize(request):
    return request.headers.get("x-person") != "stranger"


@pytest.fixture
async def http():
    web = codec_endpoint(CODEC, origins=[ORIGIN], authorize=authorize)
    transport = httpx2.ASGITransport(app=web)
    async with httpx2.AsyncClient(transport=transport, base_url="https://codec.example.com") as client:
        yield client


async def decode(http, *values, **headers):
    return await http.post("/decode", json={"values": values}, headers={"Origin": ORIGIN, **headers})


async def test_values_are_decoded_in_order_and_plain_ones_stay(http):
    answer = await decode(http, encoded({"a": 1}), 5, encoded("x"), encoded([None]))
    assert answer.json() == {"values": [{"a": 1}, 5, "x", [None]]}
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert answer.headers["access-control-allow-credentials"] == "true"


async def test_a_value_of_another_key_stays_encoded_and_is_reported_where_none_can_be_decoded(http):
    foreign = encoded(1, OTHER)
    assert (await decode(http, foreign, encoded(2))).json() == {"values": [foreign, 2]}
    refused = await decode(http, foreign)
    assert (refused.status_code, refused.json()["detail"]) == (
        422,
        "The codec cannot decode the value: LookupError: there is no key 'b'",
    )


async def test_strangers_other_origins_and_wrong_bodies_are_refused(http, monkeypatch):
    assert (await decode(http, encoded(1), **{"X-Person": "stranger"})).status_code == 403
    ask = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    for origin, status in ((ORIGIN, 200), ("https://evil.example.com", 400)):
        preflight = await http.options("/decode", headers={"Origin": origin, **ask})
        assert preflight.status_code == status
        assert ("access-control-allow-origin" in preflight.headers) is (status == 200)
    for body in (b"{", b'{"values": 1}', b"\xff", b"[]"):
        assert (await http.post("/decode", content=body)).status_code == 400
    assert (await http.get("/decode")).status_code == 405
    assert (await decode(http, *[1] * 1_001)).status_code == 400
    monkeypatch.setattr(module, "_BODY_BYTES_MAX", 10)
    assert (await decode(http, encoded(1))).status_code == 413


def test_an_endpoint_for_every_origin_is_refused():
    for origins in ([], ["*"], [ORIGIN, "*"]):
        with pytest.raises(ValueError, match="Name the origins"):
            codec_endpoint(CODEC, origins=origins, authorize=authorize)
