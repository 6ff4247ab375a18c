"""Browser sessions: a cookie's secret decrypts a stored credential, which the store alone cannot read."""

import base64
import binascii
import hashlib
import uuid
from typing import Final, NamedTuple

from runstead.commands.app import App
from runstead.core import limits
from runstead.core.audit import NO_PROJECT, Action, Audit, ObjectName, by
from runstead.core.errors import Error, not_found
from runstead.core.identity.browser_session import BrowserSession, expiry
from runstead.core.identity.principal import Origin, Principal
from runstead.core.identity.project import key_prefix, token_hash
from runstead.ports.store import BrowserSessions
from runstead.security import encryption

_PURPOSE: Final = "browser session"


class SignedIn(NamedTuple):
    """`secret` is the value of the cookie: 43 characters of base64url. Only the browser stores it."""

    secret: str
    session: BrowserSession


class Opened(NamedTuple):
    """A session and its decrypted credential."""

    credential: str
    session: BrowserSession


async def sign_in(
    app: App, principal: Principal, credential: str, user_agent: str | None, expires_at: int | None = None
) -> SignedIn:
    """Create a session for the credential of the principal.

    `expires_at` (ms) is the credential's own expiry, if any.

    Raises FORBIDDEN unless the principal is an API key or a user.
    """
    _refuse_others(principal, "can sign in")
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

    session = await _recording(app, principal, "session.create").add(decide)
    return SignedIn(base64.urlsafe_b64encode(secret).rstrip(b"=").decode(), session)


async def record_refusal(app: App, credential: str, reason: str, origin: Origin) -> None:
    """Record a failed sign-in, in the project of the key if the credential was once valid.

    One process records at most `limits.refused_sign_ins_per_minute_max`. The next entry counts the others.
    """
    omitted = app.refused_sign_ins.take()
    if omitted is None:
        return
    key = await app.store.identity.key_by_hash(token_hash(credential)) if key_prefix(credential) else None
    await app.store.audit.add(
        Audit(
            action="session.refuse",
            actor_kind="unknown",
            actor_id="",
            projects=(NO_PROJECT if key is None else key.project_id,),
            credential_id=None if key is None else key.id,
            origin=origin,
            object=ObjectName("session", "") if key is None else ObjectName("key", key.id),
            details={"reason": reason, "omitted": omitted or None},
        )
    )


async def opened(app: App, secret: str) -> Opened | None:
    """Return the credential of a cookie. The caller authenticates it like any other credential.

    Returns None if the session is unknown, expired or revoked, without saying which.
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


async def sign_out(app: App, principal: Principal, secret: str) -> bool:
    """End the caller's session of this cookie. Returns whether it existed."""
    found = await _found(app, secret)
    sessions = _recording(app, principal, "session.end")
    return found is not None and await sessions.remove(found[1].id, found[1].identity)


async def own(app: App, principal: Principal) -> list[BrowserSession]:
    """List the caller's sessions, newest first."""
    _refuse_others(principal, "has browser sessions")
    return await app.store.browser_sessions.of(principal.identity)


async def revoke(app: App, principal: Principal, session_id: str) -> None:
    """End one of the caller's sessions. Raises NOT_FOUND."""
    _refuse_others(principal, "has browser sessions")
    if not session_id.isprintable():  # PostgreSQL refuses a NUL, and no stored id has one
        raise not_found("Session")
    if not await _recording(app, principal, "session.end").remove(session_id, principal.identity):
        raise not_found("Session")


async def revoke_all(app: App, principal: Principal) -> int:
    """End all of the caller's sessions. Returns their number."""
    _refuse_others(principal, "has browser sessions")
    return await _recording(app, principal, "session.end").remove_all(principal.identity)


def _recording(app: App, principal: Principal, action: Action) -> BrowserSessions:
    """The sessions, whose changes are recorded in the projects that the caller has access to."""
    projects = tuple(principal.grants)[: limits.audit_sign_in_projects_max]
    return app.store.recording(by(principal, action, *projects or (NO_PROJECT,))).browser_sessions


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
    return "".join(char if char.isprintable() else " " for char in text)


def _refuse_others(principal: Principal, what: str) -> None:
    if principal.kind not in ("api_key", "user") or principal.bound_to is not None:
        raise Error(
            "FORBIDDEN",
            f"Only an API key or a user {what}. Tokens of workers, push services and single runs cannot",
        )
