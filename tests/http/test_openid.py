"""The client of an OpenID provider, against answers that a real provider does not give."""

import asyncio
from urllib.parse import parse_qs, urlsplit

import httpx2
import jwt
import pytest

from runstead.core import limits
from runstead.core.identity.openid import GroupRole, OpenIdSettings, OpenIdUser, parse_roles, roles_of
from runstead.core.identity.project import Member
from runstead.http.auth.openid import OpenIdClient, OpenIdError
from tests.support.clock import Clock

from .tokens import OTHER_RSA, RSA

ISSUER = "https://id.test"
SETTINGS = {
    "issuer": ISSUER,
    "client_id": "runstead",
    "client_secret": "a secret & more",
    "redirect_uri": "https://runs.test/ui/sign-in/openid/callback",
    "name": "Test",
    "roles": parse_roles("ops=shop:admin, cn=dev=lab:member"),
}
ADA = {"sub": "ada", "email": "ada@a.test", "email_verified": True, "groups": ["ops", "other", 7]}


class Provider:
    """Its answers are attributes that a test changes. None: it cannot be reached."""

    def __init__(self, clock):
        self.clock = clock
        self.requests = []
        self.document = {
            "issuer": ISSUER,
            "authorization_endpoint": f"{ISSUER}/auth",
            "token_endpoint": f"{ISSUER}/token",
            "jwks_uri": f"{ISSUER}/jwks",
            "userinfo_endpoint": f"{ISSUER}/me",
        }
        self.key, self.claims, self.userinfo, self.nonce = RSA, {}, dict(ADA), None

    def answer(self, request):
        self.requests.append(request)
        path = request.url.path
        if path == "/.well-known/openid-configuration":
            if self.document is None:
                raise httpx2.ConnectError("no route", request=request)
            return httpx2.Response(200, json=self.document)
        if path == "/jwks":
            public = jwt.algorithms.RSAAlgorithm.to_jwk(RSA.public_key(), as_dict=True)
            return httpx2.Response(200, json={"keys": [public]})
        if path == "/me":
            return httpx2.Response(200, json=self.userinfo)
        now = self.clock() // 1000
        claims = {
            "iss": ISSUER,
            "sub": "ada",
            "aud": "runstead",
            "iat": now,
            "exp": now + 300,
            "nonce": self.nonce,
        }
        claims = {name: value for name, value in (claims | self.claims).items() if value is not None}
        token = jwt.encode(claims, self.key, "RS256")
        return httpx2.Response(
            200, json={"id_token": token, "access_token": "access", "token_type": "Bearer"}
        )

    def asked(self, path):
        return [request for request in self.requests if request.url.path == path]


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def provider(clock):
    return Provider(clock)


@pytest.fixture
def client(provider, clock):
    return client_of(provider, clock)


def client_of(provider, clock, **settings):
    transport = httpx2.MockTransport(provider.answer)
    return OpenIdClient(OpenIdSettings(**(SETTINGS | settings)), clock, transport=transport)


async def sign_in(client, provider, **query):
    _, pending = await client.begin("/ui")
    provider.nonce = pending.nonce
    given = {"state": pending.state, "code": "code"} | query
    return await client.finish(pending, lambda name: given.get(name, ""))


async def refused(client, provider, message, *, unavailable=False, **query):
    with pytest.raises(OpenIdError, match=message) as caught:
        await sign_in(client, provider, **query)
    assert caught.value.unavailable == unavailable


async def test_a_user_has_the_groups_that_a_role_is_set_for(client, provider):
    assert await sign_in(client, provider) == OpenIdUser("ada", "ada@a.test", ("ops",))
    (request,) = provider.asked("/token")
    assert request.headers["authorization"].startswith("Basic ")
    form = parse_qs(request.content.decode())
    assert form["grant_type"] == ["authorization_code"]
    assert len(form["code_verifier"][0]) == 43
    assert "client_secret" not in form


@pytest.mark.parametrize(
    ("methods", "secret", "sent"),
    [(["client_secret_post"], "secret", {"client_id", "client_secret"}), (["none"], None, {"client_id"})],
)
async def test_the_client_authenticates_as_the_provider_expects(provider, clock, methods, secret, sent):
    provider.document["token_endpoint_auth_methods_supported"] = methods
    await sign_in(client_of(provider, clock, client_secret=secret), provider)
    (request,) = provider.asked("/token")
    assert "authorization" not in request.headers
    assert sent <= parse_qs(request.content.decode()).keys()


@pytest.mark.parametrize(
    ("claims", "message"),
    [
        ({"iss": "https://other.test"}, "another issuer"),
        ({"aud": "another"}, "another client"),
        ({"aud": ["runstead", "another"]}, "several audiences"),
        ({"aud": ["runstead", "another"], "azp": "another"}, "another client"),
        ({"azp": "another"}, "another client"),
        ({"exp": 1}, "expired"),
        ({"iat": 4_000_000_000, "exp": 4_000_000_300}, "not valid yet"),
        ({"nonce": "another"}, "nonce"),
        ({"nonce": None}, "malformed|nonce"),
        ({"sub": None}, "malformed"),
        ({"exp": "soon"}, "malformed"),
    ],
)
async def test_an_id_token_with_wrong_claims_is_refused(client, provider, claims, message):
    if claims.get("nonce", "") is None:
        provider.claims = {"nonce": None}
    else:
        provider.claims = claims
    await refused(client, provider, message)


async def test_an_id_token_for_several_audiences_names_its_client(client, provider):
    provider.claims = {"aud": ["another", "runstead"], "azp": "runstead"}
    assert (await sign_in(client, provider)).user_id == "ada"


async def test_an_id_token_of_another_key_is_refused(client, provider):
    provider.key = OTHER_RSA
    await refused(client, provider, "not signed by a key")


async def test_userinfo_of_another_user_is_refused(client, provider):
    provider.userinfo["sub"] = "eve"
    await refused(client, provider, "another user")


@pytest.mark.parametrize("verified", [False, None, "true", 1])
async def test_an_unverified_mail_address_is_neither_identity_nor_name(provider, clock, verified):
    provider.userinfo |= {"email_verified": verified, "name": "Ada"}
    assert await sign_in(client_of(provider, clock), provider) == OpenIdUser("ada", "Ada", ("ops",))
    await refused(client_of(provider, clock, user_claim="email"), provider, "not verified")


async def test_a_verified_mail_address_can_be_the_identity(provider, clock):
    user = await sign_in(client_of(provider, clock, user_claim="email"), provider)
    assert user.user_id == "ada@a.test"


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"state": "x"}, "does not belong"),
        ({"iss": "https://other.test"}, "another provider"),
        ({"error": "access_denied"}, "access_denied"),
        ({"code": ""}, "no code"),
    ],
)
async def test_a_wrong_callback_redeems_no_code(client, provider, query, message):
    await refused(client, provider, message, **query)
    assert provider.asked("/token") == []


async def test_a_sign_in_that_took_too_long_redeems_no_code(client, provider, clock):
    _, pending = await client.begin("/ui")
    clock.advance(limits.openid_sign_in_s + 1)
    with pytest.raises(OpenIdError, match="too long"):
        await client.finish(pending, {"state": pending.state, "code": "code"}.get)
    assert provider.asked("/token") == []


@pytest.mark.parametrize(
    ("member", "value", "message"),
    [
        ("issuer", "https://id.test/", "its issuer is"),
        ("code_challenge_methods_supported", ["plain"], "PKCE"),
        ("token_endpoint", "http://id.test/token", "not an https address"),
        ("jwks_uri", None, "malformed"),
        ("padding", "x" * limits.openid_answer_bytes_max, "too large"),
    ],
)
async def test_a_provider_that_cannot_be_used_is_named_with_the_reason(
    client, provider, member, value, message
):
    provider.document[member] = value
    await refused(client, provider, message, unavailable=True)


async def test_the_discovery_document_is_cached_refreshed_and_kept_while_the_provider_is_down(
    client, provider, clock
):
    address = "/.well-known/openid-configuration"
    for _ in range(3):
        await client.begin("/ui")
    assert len(provider.asked(address)) == 1
    clock.advance(limits.openid_discovery_s)
    provider.document["authorization_endpoint"] = f"{ISSUER}/moved?tenant=1"
    moved, _ = await client.begin("/ui")
    assert moved.startswith(f"{ISSUER}/moved?tenant=1&response_type=code")
    assert urlsplit(moved).query.count("?") == 0
    clock.advance(limits.openid_discovery_s)
    provider.document = None
    assert (await client.begin("/ui"))[0].startswith(f"{ISSUER}/moved")
    with pytest.raises(OpenIdError, match="Test cannot be reached"):
        await client_of(provider, clock).begin("/ui")


async def test_a_provider_that_does_not_answer_is_given_up_in_time(provider, clock, monkeypatch):
    monkeypatch.setattr(limits, "openid_request_s_max", 0.05)

    async def silent(request):
        await asyncio.Event().wait()

    client = OpenIdClient(OpenIdSettings(**SETTINGS), clock, transport=httpx2.MockTransport(silent))
    with pytest.raises(OpenIdError, match="cannot be reached"):
        await client.begin("/ui")


def test_roles_are_parsed_and_found_by_group():
    ops, dev = SETTINGS["roles"]
    assert (ops, dev) == (GroupRole("ops", "shop", "admin"), GroupRole("cn=dev", "lab", "member"))
    assert roles_of(SETTINGS["roles"], ["cn=dev", "other"]) == [dev]
    for wrong in ("ops", "ops=shop", "ops=shop:owner", "=shop:admin", "ops=:admin"):
        with pytest.raises(ValueError, match=wrong):
            parse_roles(f"dev=lab:member,{wrong}")


async def test_roles_of_groups_add_to_those_of_a_member(api):
    await api.store.identity.put_member(Member(api.project.id, "ada", "viewer", api.clock()), lambda *_: None)
    user = OpenIdUser("ada", "Ada", ())
    plain = await api.authenticator.openid_user(user, [])
    assert plain.grants[api.project.id] == {"runs:read"}
    assert api.other.id not in plain.grants
    roles = [
        GroupRole("g", api.project.slug, "member"),
        GroupRole("g", api.other.id, "viewer"),
        GroupRole("g", "nowhere", "admin"),
    ]
    more = await api.authenticator.openid_user(user, roles)
    assert more.grants[api.project.id] == {"runs:read", "runs:write", "workers"}
    assert more.grants[api.other.id] == {"runs:read"}
    assert (more.kind, more.id, more.name) == ("user", "ada", "Ada")
    assert not more.system
    assert (await api.authenticator.openid_user(OpenIdUser("root", None, ()), [])).system


async def test_a_session_of_a_provider_is_no_credential_of_the_api(api):
    forged = 'openid:{"user_id":"ada","name":null,"groups":["ops"]}'
    await api.refused(401, "UNAUTHENTICATED", "GET", "/runs", by=forged)
