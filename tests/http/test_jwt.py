"""JWTs: which tokens and keys are accepted and refused."""

import base64
import hashlib
import hmac
import json

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from runstead.core.errors import Error
from runstead.http.auth.jwt import TokenVerifier, seen_tokens_max
from tests.support.clock import Clock

from .tokens import ED, NOW, OTHER_RSA, RSA, claims, pem, refusal, token


@pytest.fixture
def clock():
    return Clock()


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def forged(header, payload=None, sign=lambda _: b""):
    body = payload if payload is not None else json.dumps(claims()).encode()
    signing_input = b64(json.dumps(header).encode()) + b"." + b64(body)
    return (signing_input + b"." + b64(sign(signing_input))).decode()


def rs256(signing_input):
    return jwt.algorithms.RSAAlgorithm(jwt.algorithms.RSAAlgorithm.SHA256).sign(signing_input, RSA)


@pytest.mark.parametrize("key", [RSA, ED], ids=["RS256", "EdDSA"])
async def test_a_token_signed_by_the_configured_key_gives_its_claims(clock, key):
    text = token(key, userId="grace", projectId="p1", runId="r1", scopes=["runs:read"], tokenUse="access")
    found = await TokenVerifier(pem(key), clock=clock).verify(text)
    assert (found.user_id, found.project_id, found.run_id) == ("grace", "p1", "r1")
    assert (found.scopes, found.token_use) == (frozenset({"runs:read"}), "access")
    assert found.expires_at == NOW + 600_000


async def test_a_token_needs_only_sub_and_exp(clock):
    found = await TokenVerifier(pem(RSA), clock=clock).verify(token())
    assert found.user_id == "ada"
    assert (found.project_id, found.run_id, found.scopes, found.token_use) == (None, None, None, None)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ({"scopes": "runs:read workers"}, {"runs:read", "workers"}),
        ({"scope": "runs:read  workers"}, {"runs:read", "workers"}),
        ({"scope": ["admin"]}, {"admin"}),
        ({"scopes": [], "scope": "admin"}, set()),
        ({"scopes": None, "scope": "admin"}, {"admin"}),
    ],
)
async def test_scopes_are_a_list_or_a_string(clock, said, meant):
    assert (await TokenVerifier(pem(RSA), clock=clock).verify(token(**said))).scopes == meant


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"exp": ...}, "no exp"),
        ({"exp": NOW // 1000}, "expired"),
        ({"exp": NOW}, "exp is malformed"),  # milliseconds, by mistake
        ({"exp": str(NOW // 1000 + 60)}, "exp is malformed"),
        ({"exp": True}, "exp is malformed"),
        ({"nbf": NOW // 1000 + 60}, "not valid yet"),
        ({"iat": NOW // 1000 + 60}, "not valid yet"),
        ({"sub": ...}, "has no user"),
        ({"sub": ""}, "sub is malformed"),
        ({"userId": ""}, "userId is malformed"),
        ({"userId": 7}, "userId is malformed"),
        ({"userId": "a" * 256}, "userId is malformed"),
        ({"userId": "ada\n"}, "userId is malformed"),
        ({"userId": "a\x00b"}, "userId is malformed"),
        ({"userId": "\ud800"}, "claim set is malformed"),
        ({"projectId": 7}, "projectId is malformed"),
        ({"projectId": ""}, "projectId is malformed"),
        ({"runId": ["r1"]}, "runId is malformed"),
        ({"scopes": 7}, "scopes is malformed"),
        ({"scope": ["admin", 7]}, "scope is malformed"),
        ({"aud": "someone"}, "RUNSTEAD_JWT_AUDIENCE"),
    ],
)
async def test_missing_and_malformed_claims_are_refused(clock, changes, sentence):
    assert sentence in await refusal(TokenVerifier(pem(ED), clock=clock), token(ED, **changes))


async def test_a_small_clock_skew_does_not_refuse_a_new_token(clock):
    at = NOW // 1000 + 5
    assert await TokenVerifier(pem(ED), clock=clock).verify(token(ED, iat=at, nbf=at))


@pytest.mark.parametrize("payload", [b"[]", b"null", b"{", b"\xff", b'{"exp":NaN}', b'{"a":' * 2_000])
async def test_a_payload_that_is_not_a_json_object_is_refused(clock, payload):
    text = forged({"alg": "RS256"}, payload, rs256)
    assert "claim set is malformed" in await refusal(TokenVerifier(pem(RSA), clock=clock), text)


async def test_issuer_and_audience_are_checked_where_configured(clock):
    verifier = TokenVerifier(pem(ED), issuer="https://id.example", audience="runstead", clock=clock)
    assert await verifier.verify(token(ED, iss="https://id.example", aud="runstead"))
    assert await verifier.verify(token(ED, iss="https://id.example", aud=["other", "runstead"]))
    for changes in ({}, {"iss": "https://evil.example"}, {"iss": "https://id.example/"}):
        assert "issuer" in await refusal(verifier, token(ED, aud="runstead", **changes))
    for changes in ({}, {"aud": "other"}, {"aud": []}, {"aud": "runstead2"}):
        assert "audience" in await refusal(verifier, token(ED, iss="https://id.example", **changes))


async def test_a_public_key_used_as_hmac_secret_and_unsigned_tokens_are_refused(clock):
    verifier = TokenVerifier(pem(RSA), clock=clock)
    secret = pem(RSA).encode()
    hs256 = forged({"alg": "HS256"}, sign=lambda text: hmac.digest(secret, text, "sha256"))
    unsigned = [forged(header) for header in ({"alg": "none"}, {"alg": "None"}, {}, {"alg": ["RS256"]})]
    for text in (hs256, *unsigned, jwt.encode(claims(), RSA, "RS512")):
        assert "RS256 or EdDSA" in await refusal(verifier, text)


async def test_the_algorithm_belongs_to_the_key_and_not_to_the_token(clock):
    both = TokenVerifier(pem(RSA) + pem(ED), clock=clock)
    assert await both.verify(token(RSA))
    assert await both.verify(token(ED))
    for text in (
        forged({"alg": "EdDSA"}, sign=rs256),
        forged({"alg": "RS256"}, sign=ED.sign),
        forged({"alg": "RS256"}, sign=lambda text: hashlib.sha256(text).digest()),
        forged({"alg": "RS256"}),
        token(OTHER_RSA),
    ):
        assert "not signed by a key" in await refusal(both, text)
    assert "not signed by a key" in await refusal(TokenVerifier(pem(ED), clock=clock), token(RSA))


@pytest.mark.parametrize(
    "header", [{"crit": ["b64"], "b64": True}, {"crit": ["x"], "x": 1}, {"b64": True}, {"crit": []}]
)
async def test_header_extensions_are_refused(clock, header):
    await refusal(TokenVerifier(pem(RSA), clock=clock), forged({"alg": "RS256", **header}, sign=rs256))


@pytest.mark.parametrize(
    "text",
    ["", "a", "a.b", "a.b.c", "..", "é.é.é", "a\x00.b.c", "\ud800", "x" * 65_536, "W10.e30.", "e30.e30"],
)
async def test_malformed_tokens_are_refused(clock, text):
    with pytest.raises(Error, match="is not a signed JWT") as caught:
        await TokenVerifier(pem(ED), clock=clock).verify(text)
    assert caught.value.code == "UNAUTHENTICATED"


async def test_a_modified_token_is_refused(clock):
    head, _, signature = token(ED).split(".")
    body = b64(json.dumps(claims(sub="root")).encode()).decode()
    await refusal(TokenVerifier(pem(ED), clock=clock), f"{head}.{body}.{signature}")


async def test_the_key_is_text_or_one_line_or_a_file(clock, tmp_path):
    assert await TokenVerifier(pem(ED).replace("\n", "\\n"), clock=clock).verify(token(ED))
    path = tmp_path / "keys.pem"
    path.write_text(pem(RSA) + "\n" + pem(ED))
    assert await TokenVerifier(str(path), clock=clock).verify(token(ED, {"kid": "any"}))


def private_pem():
    return ED.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        (lambda: pem(rsa.generate_private_key(65_537, 1_024)), "has 2048 to 16384 bits, not 1024"),
        (lambda: pem(ec.generate_private_key(ec.SECP256R1())), "must be an RSA or an Ed25519"),
        (private_pem, "holds a private key"),
        (lambda: "/nowhere/key.pem", "neither PEM text nor the path"),
        (lambda: "\x00", "neither PEM text nor the path"),
        (lambda: "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "not a public key"),
        (lambda: "-----BEGIN PUBLIC KEY-----\nAAAA", "not a public key"),
    ],
)
def test_an_unusable_key_is_refused_at_start(key, sentence):
    with pytest.raises(ValueError, match=sentence):
        TokenVerifier(key())


@pytest.mark.parametrize(
    "url", ["ftp://id.example/", "file:///etc/passwd", "id.example", "https://", "https:// a"]
)
def test_a_jwks_url_must_be_http(url):
    with pytest.raises(ValueError, match="not an http or https URL"):
        TokenVerifier(jwks_url=url)


def test_a_verifier_needs_keys():
    with pytest.raises(ValueError, match="RUNSTEAD_JWT_PUBLIC_KEY or RUNSTEAD_JWKS_URL"):
        TokenVerifier("", None)


async def test_a_verified_token_is_cached_for_a_minute_and_never_past_its_expiry(clock):
    verifier = TokenVerifier(pem(ED), clock=clock)
    short = token(ED, exp=NOW // 1000 + 30)
    first = await verifier.verify(short)
    assert await verifier.verify(short) is first
    clock.now += 29_999
    assert await verifier.verify(short) is first
    clock.now += 1
    assert "expired" in await refusal(verifier, short)
    long = token(ED)
    second = await verifier.verify(long)
    clock.now += 59_999
    assert await verifier.verify(long) is second
    clock.now += 1
    assert await verifier.verify(long) is not second


async def test_the_cache_of_tokens_is_bounded(clock):
    verifier = TokenVerifier(pem(ED), clock=clock)
    oldest, *others = [token(ED, jti=str(number)) for number in range(seen_tokens_max + 1)]
    first = await verifier.verify(oldest)
    for text in others:
        await verifier.verify(text)
    assert len(verifier._seen) == seen_tokens_max
    assert await verifier.verify(oldest) is not first


async def test_refused_tokens_are_not_cached(clock):
    verifier = TokenVerifier(pem(ED), clock=clock)
    early = token(ED, nbf=NOW // 1000 + 60)
    await refusal(verifier, early)
    clock.now += 60_000
    assert await verifier.verify(early)
