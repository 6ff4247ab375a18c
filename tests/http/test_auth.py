"""Authentication by API keys, worker tokens and users' tokens, and malformed credentials."""

import asyncio
import secrets
import time

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from runstead.core.errors import Error
from runstead.core.identity.openid import GroupRole, OpenIdUser
from runstead.core.identity.principal import ALL_SCOPES, DEFAULT_SCOPES, Scope, can
from runstead.core.identity.project import ApiKey, Member, Project, new_key, personal_project, token_hash
from runstead.core.queue.worker import Worker
from runstead.http.auth.authenticator import Authenticator, seen_credentials_max
from runstead.http.auth.jwt import TokenVerifier
from runstead.testing.store import TemporaryStore

NOW = 1_774_008_000_000
SIGNING = Ed25519PrivateKey.generate()
PEM = SIGNING.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
PERSONAL = personal_project("ada", NOW).id


def anything(_counts):
    """A guard that allows every change."""


def credential(authorization, x_api_key=None):
    return tuple(
        None if text is None else text.encode("utf-8", "surrogatepass") for text in (authorization, x_api_key)
    )


class AuthSetup:
    """A store with projects p1 and p2, a clock, and the authenticator in front of both."""

    def __init__(self):
        self.now = NOW
        self.store = TemporaryStore(self.clock)

    async def open(self):
        await self.store.open()
        self.auth = Authenticator(self.store, TokenVerifier(PEM, clock=self.clock), self.clock)

    def clock(self):
        return self.now

    async def key(self, scopes=DEFAULT_SCOPES, **changes):
        text = new_key()
        key_id, prefix = f"k-{text[3:11]}", text[3:11]
        key = ApiKey(key_id, "p1", prefix, token_hash(text), frozenset(scopes), NOW, **changes)
        await self.store.identity.create_key(key)
        return text, key_id

    async def join(self, project, role):
        await self.store.identity.put_member(Member(project, "ada", role, NOW), anything)

    async def worker(self):
        text = f"vfw_{secrets.token_hex(32)}"
        await self.store.workers.register(Worker("w1", "p1", "claude", "one", NOW, NOW), token_hash(text))
        return text

    async def bearer(self, text):
        return await self.auth.authenticate(credential(f"Bearer {text}"))

    async def user(self, **claims):
        body = {"sub": "ada", "exp": self.now // 1000 + 600, **claims}
        return await self.bearer(jwt.encode(body, SIGNING, "EdDSA"))

    async def refusal(self, authorization, x_api_key=None):
        with pytest.raises(Error) as caught:
            await self.auth.authenticate(credential(authorization, x_api_key))
        assert caught.value.code == "UNAUTHENTICATED"
        return caught.value.message


@pytest.fixture
async def setup():
    made = AuthSetup()
    await made.open()
    for name in ("p1", "p2"):
        await made.store.identity.create_project(Project(name, f"slug-{name}", name, NOW), None, None)
    yield made
    await made.store.close()


async def test_an_api_key_is_accepted_in_either_header(setup):
    key, key_id = await setup.key(scopes={Scope.RUNS_WRITE})
    by_bearer = await setup.bearer(key)
    assert (by_bearer.kind, by_bearer.id, by_bearer.run_id, by_bearer.worker_id) == (
        "api_key",
        key_id,
        None,
        None,
    )
    assert by_bearer.grants == {"p1": {Scope.RUNS_WRITE, Scope.RUNS_READ}}
    assert await setup.auth.authenticate(credential(None, key)) == by_bearer
    assert await setup.auth.authenticate(credential(f"bearer  {key} ", key)) == by_bearer


async def test_an_admin_key_has_all_scopes_in_its_project_only(setup):
    key, _ = await setup.key(scopes={Scope.ADMIN})
    principal = await setup.bearer(key)
    assert principal.grants == {"p1": ALL_SCOPES}
    assert not can(principal, Scope.RUNS_READ, "p2")


async def test_unknown_and_revoked_keys_get_the_same_error(setup):
    revoked, _ = await setup.key(revoked_at=NOW - 1)
    known, _ = await setup.key()
    bad = (revoked, new_key(), known[:-1], known + "0", "vf_", "vf_a_")
    found = {await setup.refusal(f"Bearer {key}") for key in bad}
    assert found == {"The API key is unknown or revoked"}


async def test_a_cached_key_is_valid_until_it_expires(setup):
    key, _ = await setup.key(expires_at=NOW + 1_000)
    setup.now += 999
    assert await setup.bearer(key)
    setup.now += 1
    assert await setup.refusal(f"Bearer {key}") == "The API key has expired"


async def test_a_revocation_takes_effect_at_once_here_and_after_two_seconds_elsewhere(setup):
    key, key_id = await setup.key()
    first = await setup.bearer(key)
    await setup.store.identity.revoke_key("p1", key_id, NOW)
    setup.now += 1_999
    assert await setup.bearer(key) is first
    setup.now += 1
    await setup.refusal(f"Bearer {key}")
    key, key_id = await setup.key()
    await setup.bearer(key)
    await setup.store.identity.revoke_key("p1", key_id, setup.now)
    setup.auth.forget()
    await setup.refusal(f"Bearer {key}")


async def test_a_clock_that_is_set_back_does_not_prolong_cache_entries(setup):
    key, key_id = await setup.key()
    await setup.bearer(key)
    await setup.store.identity.revoke_key("p1", key_id, NOW)
    setup.now -= 1
    await setup.refusal(f"Bearer {key}")


async def test_a_credential_that_is_revoked_during_its_read_is_not_cached(setup):
    key, key_id = await setup.key()
    read, revoked = asyncio.Event(), asyncio.Event()
    key_by_hash = setup.store.identity.key_by_hash

    async def slow(digest):
        found = await key_by_hash(digest)
        read.set()
        await revoked.wait()
        return found

    setup.store.identity.key_by_hash = slow
    caller = asyncio.create_task(setup.bearer(key))
    await read.wait()
    await setup.store.identity.revoke_key("p1", key_id, NOW)
    setup.auth.forget()
    revoked.set()
    assert await caller
    await setup.refusal(f"Bearer {key}")


class SlowLookUps:
    """The look-ups of keys, which end when `go` is set. `count`: how many have begun."""

    def __init__(self, setup):
        self.count, self.begun, self.go = 0, asyncio.Event(), asyncio.Event()
        self._look_up = setup.store.identity.key_by_hash
        setup.store.identity.key_by_hash = self

    async def __call__(self, digest):
        self.count += 1
        found = await self._look_up(digest)
        self.begun.set()
        await self.go.wait()
        return found


async def test_requests_that_wait_for_one_credential_share_a_look_up(setup):
    key, key_id = await setup.key()
    look_ups = SlowLookUps(setup)
    callers = [asyncio.create_task(setup.bearer(key)) for _ in range(10)]
    await look_ups.begun.wait()
    look_ups.go.set()
    assert [(await each).id for each in callers] == [key_id] * 10
    assert look_ups.count == 1


async def test_a_refused_credential_is_looked_up_for_each_request(setup):
    look_ups, unknown = SlowLookUps(setup), new_key()
    callers = [asyncio.create_task(setup.refusal(f"Bearer {unknown}")) for _ in range(3)]
    await look_ups.begun.wait()
    look_ups.go.set()
    await asyncio.gather(*callers)
    assert look_ups.count == 3


async def test_a_caller_that_leaves_during_its_look_up_does_not_stop_the_others(setup):
    key, key_id = await setup.key()
    look_ups = SlowLookUps(setup)
    first, second = (asyncio.create_task(setup.bearer(key)) for _ in range(2))
    await look_ups.begun.wait()
    first.cancel()
    look_ups.go.set()
    assert (await second).id == key_id


async def test_a_request_after_a_revocation_does_not_wait_for_an_earlier_look_up(setup):
    key, key_id = await setup.key()
    look_ups = SlowLookUps(setup)
    earlier = asyncio.create_task(setup.bearer(key))
    await look_ups.begun.wait()
    await setup.store.identity.revoke_key("p1", key_id, NOW)
    setup.auth.forget()
    later = asyncio.create_task(setup.refusal(f"Bearer {key}"))
    look_ups.go.set()
    await asyncio.gather(earlier, later)
    assert look_ups.count == 2


async def test_the_cache_is_bounded_and_costs_microseconds(setup):
    key, _ = await setup.key()
    await setup.bearer(key)
    took, rounds = [], 500
    for _ in range(5):
        began = time.thread_time()
        for _ in range(rounds):
            await setup.auth.authenticate(credential(f"Bearer {key}"))
        took.append(time.thread_time() - began)
    assert min(took) / rounds < 50e-6  # about 2 µs; the rest is for slow machines
    for _ in range(seen_credentials_max + 10):
        await setup.bearer((await setup.key())[0])
    assert len(setup.auth._seen) == seen_credentials_max


async def test_the_last_use_of_keys_is_stored_at_most_once_a_minute(setup):
    key, _ = await setup.key()

    async def last_used():
        [stored] = await setup.store.identity.keys("p1")
        return stored.last_used_at

    await setup.auth.flush()
    await setup.bearer(key)
    await setup.auth.flush()
    assert await last_used() == NOW
    setup.now += 59_999
    await setup.bearer(key)
    await setup.auth.flush()
    assert await last_used() == NOW
    setup.now += 1
    await setup.auth.flush()
    assert await last_used() == NOW + 59_999
    await setup.bearer(key)
    await setup.auth.flush(force=True)
    assert await last_used() == NOW + 60_000


async def test_a_last_use_is_stored_later_if_the_store_failed(setup):
    key, _ = await setup.key()
    await setup.bearer(key)
    touch_keys = setup.store.identity.touch_keys

    async def full_disk(used):
        raise Error("STORE_UNAVAILABLE", "The disk is full")

    setup.store.identity.touch_keys = full_disk
    with pytest.raises(Error, match="full"):
        await setup.auth.flush()
    setup.store.identity.touch_keys = touch_keys
    await setup.auth.flush()
    [stored] = await setup.store.identity.keys("p1")
    assert stored.last_used_at == NOW


async def test_a_worker_token_acts_for_its_worker_only(setup):
    text = await setup.worker()
    for _ in range(2):
        principal = await setup.bearer(text)
        assert (principal.kind, principal.id, principal.worker_id) == ("worker", "w1", "w1")
        assert principal.grants == {"p1": {Scope.WORKERS}}
        assert "as Bearer" in await setup.refusal(None, text)
    assert "register the worker again" in await setup.refusal("Bearer vfw_unknown")


async def test_a_user_has_access_to_projects_by_role_and_to_the_personal_one(setup):
    for role, scopes in (("viewer", {Scope.RUNS_READ}), ("member", DEFAULT_SCOPES), ("admin", ALL_SCOPES)):
        await setup.join("p1", role)
        setup.auth.forget()
        principal = await setup.user()
        assert (principal.kind, principal.id, principal.run_id) == ("user", "ada", None)
        assert principal.grants == {"p1": scopes, PERSONAL: DEFAULT_SCOPES}


async def test_a_change_of_role_takes_effect_after_two_seconds(setup):
    await setup.join("p1", "admin")
    assert can(await setup.user(jti="1", exp=NOW // 1000 + 60), Scope.ADMIN, "p1")
    await setup.store.identity.remove_member("p1", "ada", anything)
    assert can(await setup.user(jti="1", exp=NOW // 1000 + 60), Scope.ADMIN, "p1")
    setup.now += 2_000
    assert not can(await setup.user(jti="1", exp=NOW // 1000 + 60), Scope.RUNS_READ, "p1")


async def test_a_token_of_a_project_or_a_run_is_valid_there_only(setup):
    assert (await setup.user(runId="r1")).run_id == "r1"
    await setup.join("p1", "admin")
    assert (await setup.user(projectId="p2")).grants == {"p2": DEFAULT_SCOPES}
    assert (await setup.user(projectId="p1")).grants == {"p1": ALL_SCOPES}
    assert (await setup.user(projectId="nowhere")).grants == {}
    assert (await setup.user(projectId="slug-p2")).grants == {}
    assert (await setup.user(projectId=PERSONAL)).grants == {PERSONAL: DEFAULT_SCOPES}
    assert (await setup.user(userId="eve", projectId=PERSONAL)).grants == {}


async def test_a_removed_user_has_no_access_by_claims_or_groups_after_two_seconds(setup):
    claims = {"projectId": "p1", "jti": "1", "exp": NOW // 1000 + 60}
    ada = OpenIdUser("ada", None, ("ops",))
    roles = [GroupRole("ops", "p1", "admin"), GroupRole("ops", "p2", "viewer")]
    assert (await setup.user(**claims)).grants == {"p1": DEFAULT_SCOPES}
    await setup.store.identity.remove_member("p1", "ada", anything)
    setup.now += 2_000
    assert (await setup.user(**claims)).grants == {}
    assert (await setup.auth.openid_user(ada, roles)).grants.keys() == {"p2", PERSONAL}
    await setup.join("p1", "viewer")
    setup.now += 2_000
    assert (await setup.user(**claims)).grants == {"p1": DEFAULT_SCOPES}
    assert (await setup.auth.openid_user(ada, roles)).grants["p1"] == ALL_SCOPES


NARROWED = [
    (["runs:read"], {Scope.RUNS_READ}),
    ("runs:write openid", {Scope.RUNS_READ, Scope.RUNS_WRITE}),
    (["admin"], DEFAULT_SCOPES),  # narrowing never adds
    (["openid"], set()),
    ([], set()),
]


@pytest.mark.parametrize(("named", "left"), NARROWED)
async def test_scopes_of_a_token_restrict_the_user_in_every_project(setup, named, left):
    await setup.join("p1", "member")
    assert (await setup.user(scopes=named)).grants == {"p1": left, PERSONAL: left}
    assert (await setup.user(scopes=named, projectId="p2")).grants == {"p2": left}


async def test_a_token_for_appending_events_is_not_a_user_token(setup):
    with pytest.raises(Error, match="events of one run") as caught:
        await setup.user(
            tokenUse="run_event_writer", runId="r1", projectId="p1", scopes=["agent-runs:events:append"]
        )
    assert caught.value.code == "UNAUTHENTICATED"


async def test_a_token_is_not_cached_past_its_expiry(setup):
    text = jwt.encode({"sub": "ada", "exp": NOW // 1000 + 1}, SIGNING, "EdDSA")
    assert await setup.bearer(text)
    setup.now += 1_000
    assert await setup.refusal(f"Bearer {text}") == "The token has expired"


async def test_without_a_verifier_every_token_is_refused(setup):
    setup.auth = Authenticator(setup.store, None, setup.clock)
    assert "does not accept JWTs" in await setup.refusal("Bearer a.b.c")
    assert await setup.bearer((await setup.key())[0])


async def test_a_missing_credential_and_two_different_ones_are_refused(setup):
    key, _ = await setup.key()
    other, _ = await setup.key()
    message = 'Send a credential: "Authorization: Bearer <token or key>" or "X-API-Key: <key>"'
    assert await setup.refusal(None) == message
    assert "different credentials" in await setup.refusal(f"Bearer {key}", other)


HEADERS = ["", "Bearer", "Bearer ", "Basic YTpi", "Bearer\tx", "Token x", "\x00", "é"]
VALUES = ["\x00", "vf_a_\x00", "é", "vf_a_\ud800", "x" * 65_536, "vf_a_" + "0" * 65_536]
HEADERS += [f"Bearer {value}" for value in VALUES]


@pytest.mark.parametrize("header", HEADERS, ids=range(len(HEADERS)))
async def test_a_malformed_credential_is_refused_with_one_sentence(setup, header):
    for sent in ((header, None), (None, header), (None, header.removeprefix("Bearer "))):
        assert "x" * 100 not in await setup.refusal(*sent)


async def test_examining_a_credential_returns_its_expiry(setup):
    lasting, _ = await setup.key()
    ending, key_id = await setup.key(expires_at=NOW + 1_000)
    assert (await setup.auth.examine(lasting))[1] is None
    principal, expires_at = await setup.auth.examine(ending)
    assert (principal.identity, expires_at) == (f"api_key:{key_id}", NOW + 1_000)
    token = jwt.encode({"sub": "ada", "exp": NOW // 1000 + 60}, SIGNING, "EdDSA")
    principal, expires_at = await setup.auth.examine(token)
    assert (principal.identity, expires_at) == ("user:ada", NOW + 60_000)
    assert (await setup.auth.examine(await setup.worker()))[0].kind == "worker"


async def test_examining_a_credential_bypasses_the_cache(setup):
    key, key_id = await setup.key()
    await setup.bearer(key)
    await setup.store.identity.revoke_key("p1", key_id, NOW)
    assert await setup.bearer(key)  # for two seconds more
    for bad in (key, "", "no token", "vf_"):
        with pytest.raises(Error) as caught:
            await setup.auth.examine(bad)
        assert caught.value.code == "UNAUTHENTICATED"


async def test_a_principal_names_its_credential(setup):
    key, key_id = await setup.key(name="CI")
    by_key = await setup.bearer(key)
    assert (by_key.credential_id, by_key.name) == (key_id, "CI")
    by_worker = await setup.bearer(await setup.worker())
    assert (by_worker.credential_id, by_worker.name) == ("w1", "one")
    user = await setup.user(jti="j-1", name="Ada Lovelace", email="ada@example.com")
    assert (user.credential_id, user.name) == ("j-1", "Ada Lovelace")
    user = await setup.user(email="ada@example.com")
    assert user.credential_id.startswith("sha256:")
    assert user.name == "ada@example.com"
    malformed = await setup.user(jti=7, name="a\nb", email=["x"])
    assert malformed.credential_id.startswith("sha256:")
    assert malformed.name is None
