"""A signed-in browser. The store holds the credential encrypted with a secret that is only in the browser's
cookie. Times are ms.
"""

import msgspec

from runstead.core import limits


class BrowserSession(msgspec.Struct, frozen=True):
    """`hash` is the SHA-256 of the cookie's secret, `sealed` the credential as `encryption.encrypt` returned
    it, and `identity` the owner (`Principal.identity`).
    """

    id: str
    hash: bytes
    sealed: bytes
    identity: str
    user_agent: str
    created_at: int
    last_seen_at: int
    expires_at: int


def expiry(now: int, credential_expires_at: int | None) -> int:
    """Return when a session that begins now expires: never later than its credential."""
    latest = now + limits.browser_session_s * 1000
    return latest if credential_expires_at is None else min(latest, credential_expires_at)
