"""Signing in with a browser: what the cookie stands for, who may, and how it ends, over every store."""

import pytest

from runstead.commands import browser_sessions as commands
from runstead.commands.app import App
from runstead.core import limits
from runstead.core.errors import Error
from runstead.core.identity.principal import DEFAULT_SCOPES, Principal
from runstead.engines.notifiers.local import LocalNotifier

PROJECT = "11111111-1111-4111-8111-111111111111"
ADA = Principal("user", "ada", {PROJECT: DEFAULT_SCOPES})
KEY = Principal("api_key", "key-1", {PROJECT: DEFAULT_SCOPES})
CREDENTIAL = "vf_0badcafe_secret"


@pytest.fixture
def app(store):
    return App(store, LocalNotifier())


async def signed_in(app, principal=ADA, **options):
    return await commands.sign_in(app, principal, CREDENTIAL, "Firefox", **options)


async def test_the_cookie_represents_the_credential(app, clock):
    secret, session = await signed_in(app)
    assert (session.identity, session.user_agent) == ("user:ada", "Firefox")
    assert session.expires_at == clock.now + limits.browser_session_s * 1000
    assert await commands.opened(app, secret) == (CREDENTIAL, session)


async def test_the_store_contains_neither_the_credential_nor_the_secret(app):
    secret, session = await signed_in(app)
    other, again = await signed_in(app)
    stored = repr(session).encode() + session.sealed + session.hash
    assert CREDENTIAL.encode() not in stored
    assert secret.encode() not in stored
    assert secret != other
    assert session.sealed != again.sealed


@pytest.mark.parametrize("wrong", ["", "x", "x" * 42, "x" * 43, "x" * 44, "\x00" * 43, "ü" * 43, "=" * 43])
async def test_a_secret_that_is_none_opens_nothing(app, wrong):
    await signed_in(app)
    assert await commands.opened(app, wrong) is None
    assert not await commands.sign_out(app, ADA, wrong)


async def test_a_session_ends_after_twelve_hours_whatever_was_done_with_it(app, clock):
    secret, _ = await signed_in(app)
    clock.advance_ms(limits.browser_session_s * 1000 - 1)
    assert await commands.opened(app, secret) is not None
    await app.session_activity.flush()
    clock.advance_ms(1)
    assert await commands.opened(app, secret) is None


async def test_a_session_never_outlives_its_credential(app, clock):
    secret, session = await signed_in(app, expires_at=clock.now + 60_000)
    assert session.expires_at == clock.now + 60_000
    late = (await signed_in(app, expires_at=clock.now + 10**9)).session
    assert late.expires_at == clock.now + limits.browser_session_s * 1000
    clock.advance_ms(60_000)
    assert await commands.opened(app, secret) is None


async def test_signing_out_ends_the_session_of_this_browser_alone(app):
    here, there = await signed_in(app), await signed_in(app)
    assert await commands.sign_out(app, ADA, here.secret)
    assert not await commands.sign_out(app, ADA, here.secret)
    assert await commands.opened(app, here.secret) is None
    assert await commands.opened(app, there.secret) is not None


async def test_the_caller_sees_and_ends_its_own_sessions_and_no_others(app):
    secret, session = await signed_in(app)
    other = await signed_in(app, KEY)
    assert await commands.own(app, ADA) == [session]
    for unknown in (other.session.id, "another", "nul\x00"):
        with pytest.raises(Error) as caught:
            await commands.revoke(app, ADA, unknown)
        assert caught.value.code == "NOT_FOUND"
    await commands.revoke(app, ADA, session.id)
    assert await commands.opened(app, secret) is None
    assert await commands.opened(app, other.secret) is not None


async def test_all_sessions_of_the_caller_end_at_once(app):
    mine = [await signed_in(app), await signed_in(app)]
    other = await signed_in(app, KEY)
    assert await commands.revoke_all(app, ADA) == 2
    assert [await commands.opened(app, one.secret) for one in mine] == [None, None]
    assert await commands.opened(app, other.secret) is not None


@pytest.mark.parametrize(
    "principal",
    [
        Principal("worker", "w", {PROJECT: DEFAULT_SCOPES}, worker_id="w"),
        Principal("service", "ada", {PROJECT: DEFAULT_SCOPES}, run_id="run", service_id="s", family=True),
        Principal("event_writer", "ada", {PROJECT: frozenset()}, run_id="run", service_id="s"),
        Principal("user", "ada", {PROJECT: DEFAULT_SCOPES}, run_id="run"),
    ],
    ids=["worker", "service", "event writer", "user bound to a run"],
)
async def test_tokens_of_programs_do_not_sign_in(app, principal):
    with pytest.raises(Error) as caught:
        await signed_in(app, principal)
    assert caught.value.code == "FORBIDDEN"
    assert "Only an API key or a user can sign in" in caught.value.message
    assert await app.store.browser_sessions.of(principal.identity) == []


async def test_user_agents_are_truncated_and_cleaned(app):
    signed_in = await commands.sign_in(app, ADA, CREDENTIAL, "a\r\nb\x00" + "c" * 1_000)
    assert signed_in.session.user_agent == "a  b " + "c" * (limits.user_agent_chars_max - 5)
    assert (await commands.sign_in(app, ADA, CREDENTIAL, None)).session.user_agent == ""


async def test_when_a_browser_was_last_seen_is_stored_from_time_to_time(app, clock):
    secret, session = await signed_in(app)
    clock.advance_ms(5_000)
    await commands.opened(app, secret)
    assert (await commands.own(app, ADA))[0].last_seen_at == session.created_at
    assert await app.session_activity.flush() == 1
    assert (await commands.own(app, ADA))[0].last_seen_at == clock.now
    assert await app.session_activity.flush() == 0
