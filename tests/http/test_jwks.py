"""Keys of a JWKS endpoint: their selection, their cache, and failures of the endpoint."""

import asyncio
import json

import httpx2
import jwt
import pytest

from runstead.core.errors import Error
from runstead.http.auth.jwt import TokenVerifier
from tests.support.clock import Clock

from .tokens import ED, NOW, OTHER_RSA, RSA, URL, pem, refusal, token


@pytest.fixture
def clock():
    return Clock()


class Provider:
    """A JWKS endpoint whose answer the test sets."""

    def __init__(self, *keys):
        self.asked, self.status, self.reached, self.pause = 0, 200, asyncio.Event(), asyncio.Event()
        self.headers = {"Location": "/elsewhere"}
        self.pause.set()
        self.publish(*keys)

    def publish(self, *keys):
        self.body = json.dumps({"keys": [*keys, None, 7, "kty", {"kty": "EC"}]}).encode()

    async def answer(self, request):
        self.asked += 1
        self.reached.set()
        await self.pause.wait()
        if self.status == 0:
            raise httpx2.ConnectError("no route", request=request)
        return httpx2.Response(self.status, content=self.body, headers=self.headers)

    def verifier(self, clock, **settings):
        transport = httpx2.MockTransport(self.answer)
        return TokenVerifier(jwks_url=URL, clock=clock, transport=transport, **settings)


def jwk(key, kid=None, **members):
    kind = jwt.algorithms.OKPAlgorithm if key is ED else jwt.algorithms.RSAAlgorithm
    return {**kind.to_jwk(key.public_key(), as_dict=True), **({"kid": kid} if kid else {}), **members}


async def test_keys_of_a_jwks_are_selected_by_kid_and_type_and_cached_for_ten_minutes(clock):
    provider = Provider(jwk(RSA, "a", use="sig", alg="RS256"), jwk(ED, "b", alg="EdDSA"))
    verifier = provider.verifier(clock)
    for text in (token(RSA, {"kid": "a"}), token(ED, {"kid": "b"}), token(RSA), token(ED)):
        assert await verifier.verify(text)
    await refusal(verifier, token(ED, {"kid": "a"}))
    await refusal(verifier, token(OTHER_RSA, {"kid": "a"}))
    clock.now += 599_999
    assert await verifier.verify(token(ED, {"kid": "b"}, exp=NOW // 1000 + 900))
    assert provider.asked == 1
    clock.now += 1
    assert await verifier.verify(token(ED, {"kid": "b"}, exp=NOW // 1000 + 901))
    assert provider.asked == 2


@pytest.mark.parametrize(
    "members",
    [
        {"use": "enc"},
        {"alg": "RS512"},
        {"alg": "HS256"},
        {"key_ops": ["encrypt"]},
        {"kty": "oct"},
        {"n": 5},
        {"n": "AQAB"},
    ],
)
async def test_keys_for_other_uses_are_ignored(clock, members):
    provider = Provider({**jwk(RSA, "a"), **members}, jwk(ED, "b"))
    await refusal(provider.verifier(clock), token(RSA, {"kid": "a"}))
    assert await provider.verifier(clock).verify(token(ED, {"kid": "b"}))


async def test_an_unknown_kid_fetches_the_keys_again_but_not_more_than_twice_a_minute(clock):
    provider = Provider(jwk(RSA, "old"))
    verifier = provider.verifier(clock)
    assert await verifier.verify(token(RSA, {"kid": "old"}))
    clock.now += 30_000
    provider.publish(jwk(ED, "new"))
    assert await verifier.verify(token(ED, {"kid": "new"}))
    assert "not signed by a key" in await refusal(
        verifier, token(RSA, {"kid": "old"})
    )  # not from the cache either
    for kid in ("x", "y"):
        await refusal(verifier, token(ED, {"kid": kid}))
    assert provider.asked == 2
    clock.now += 30_000
    await refusal(verifier, token(ED, {"kid": "z"}))
    assert provider.asked == 3


async def test_callers_share_one_fetch_and_a_cancelled_caller_does_not_end_it(clock):
    provider = Provider(jwk(ED))
    provider.pause.clear()
    verifier = provider.verifier(clock)
    callers = [asyncio.create_task(verifier.verify(token(ED, jti=str(number)))) for number in range(20)]
    await provider.reached.wait()
    callers[0].cancel()
    await asyncio.sleep(0)
    provider.pause.set()
    answers = await asyncio.gather(*callers, return_exceptions=True)
    assert [type(answer).__name__ for answer in answers] == ["CancelledError"] + ["Claims"] * 19
    assert provider.asked == 1


@pytest.mark.parametrize("status", [0, 302, 404, 500])
async def test_an_unreachable_jwks_keeps_the_current_keys(clock, status):
    provider = Provider(jwk(ED, "a"))
    verifier = provider.verifier(clock)
    await verifier.verify(token(ED))
    clock.now += 600_000
    provider.status = status
    assert await verifier.verify(token(ED, exp=NOW // 1000 + 900))
    assert await verifier.verify(token(ED, exp=NOW // 1000 + 901))
    assert provider.asked == 2


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"keys":{}}', b"[" * 5_000, b"\x1f\x8b", b" " * 262_145]
)
async def test_without_any_keys_the_caller_is_asked_to_retry(clock, body):
    provider = Provider()
    provider.body = body
    verifier = provider.verifier(clock)
    with pytest.raises(Error, match="cannot be fetched") as caught:
        await verifier.verify(token(ED))
    assert (caught.value.code, caught.value.retry_after_s) == ("UNAUTHENTICATED", 5)
    clock.now += 5_000
    provider.publish(jwk(ED))
    assert await verifier.verify(token(ED))


async def test_a_configured_key_works_while_the_jwks_fails(clock):
    provider = Provider()
    provider.status = 0
    assert await provider.verifier(clock, public_key=pem(RSA)).verify(token(RSA, {"kid": "any"}))
    assert provider.asked == 0


async def test_a_slow_fetch_is_not_repeated_at_once(clock):
    provider = Provider()
    provider.status = 500
    provider.pause.clear()
    caller = asyncio.create_task(refusal(provider.verifier(clock), token(ED)))
    await provider.reached.wait()
    clock.now += 5_000
    provider.pause.set()
    assert "cannot be fetched" in await caller
    assert provider.asked == 1
