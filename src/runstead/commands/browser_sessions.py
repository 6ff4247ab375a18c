"""Browsers that people sign in with: a cookie's secret stands for a credential, which the store cannot read."""

import base64
import binascii
import hashlib
import uuid
from typing import Final, NamedTuple

from runstead.commands.app import App
from runstead.core import limits
from runstead.core.errors import Error, not_found
from runstead.core.identity.browser_session import BrowserSession, expiry
from runstead.core.identity.principal import Principal
from runstead.security import encryption

_PURPOSE: Final = "browser session"


class SignedIn(NamedTuple):
    """`secret` is for the cookie: 43 characters of base64url, which nobody keeps but the browser."""

    secret: str
    session: BrowserSession


class Opened(NamedTuple):
    credential: str
    session: BrowserSession


async def sign_in(
    app: App, principal: Principal, credential: str, user_agent: str | None, expires_at: int | None = None
) -> SignedIn:
    """A session for the credential that proved the principal, `expires_at` (ms) being its own end, where that is known.
    FORBIDDEN for whatever is not an API key or a user.
    """
    _refuse_others(principal, "signs in")
    secret = encryption.new_secret()
    encrypted = encryption.encrypt(secret, _PURPOSE, credential.encode())

    def decide(now: int) -> BrowserSession:
        return BrowserSession(
            id=str(uuid.uuid4()),
            hash=hashlib.sha256(secret).digest(),
            sealed=encrypted,
            identity=principal.identity,
            user_agent=_printable(user_agent or "")[: limits.user_agent_chars_max],
            created_at=now,
            last_seen_at=now,
            expires_at=expiry(now, expires_at),
        )

    session = await app.store.browser_sessions.add(decide)
    return SignedIn(base64.urlsafe_b64encode(secret).rstrip(b"=").decode(), session)


async def opened(app: App, secret: str) -> Opened | None:
    """The credential for which a cookie stands, to be looked at like any that comes with a request. None where the
    session is unknown, has expired or was revoked: the three are not told apart.
    """
    found = await _found(app, secret)
    if found is None:
        return None
    raw, session = found
    credential = encryption.decrypt(raw, _PURPOSE, session.sealed)
    if credential is None:
        return None
    app.session_activity.add(session.id)
    return Opened(credential.decode(), session)


async def sign_out(app: App, secret: str) -> bool:
    """End the session of this cookie; whether there was one."""
    found = await _found(app, secret)
    return found is not None and await app.store.browser_sessions.remove(found[1].id, found[1].identity)


async def own(app: App, principal: Principal) -> list[BrowserSession]:
    """The caller's sessions, newest first."""
    _refuse_others(principal, "has sessions of browsers")
    return await app.store.browser_sessions.of(principal.identity)


async def revoke(app: App, principal: Principal, session_id: str) -> None:
    """End one of the caller's sessions. NOT_FOUND."""
    _refuse_others(principal, "has sessions of browsers")
    if not session_id.isprintable():  # no stored id holds a NUL
        raise not_found("Session")
    if not await app.store.browser_sessions.remove(session_id, principal.identity):
        raise not_found("Session")


async def revoke_all(app: App, principal: Principal) -> int:
    """End all of the caller's sessions; how many."""
    _refuse_others(principal, "has sessions of browsers")
    return await app.store.browser_sessions.remove_all(principal.identity)


async def _found(app: App, secret: str) -> tuple[bytes, BrowserSession] | None:
    try:
        raw = base64.b64decode(f"{secret}=", altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        return None
    if len(raw) != encryption.SECRET_BYTES:
        return None
    session = await app.store.browser_sessions.by_hash(hashlib.sha256(raw).digest())
    return None if session is None else (raw, session)


def _printable(text: str) -> str:
    return "".join(one if one.isprintable() else " " for one in text)


def _refuse_others(principal: Principal, what: str) -> None:
    if principal.kind not in ("api_key", "user") or principal.run_id is not None:
        raise Error(
            "FORBIDDEN",
            f"Only an API key or a user {what}: tokens of workers, of push services and of one run do not",
        )
