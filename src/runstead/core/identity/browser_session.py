"""A browser that somebody signed in with. The store keeps what it cannot read: the credential, sealed under a secret that
only the browser's cookie holds. Times are ms.
"""

from typing import Final

import msgspec

from runstead.core import limits


class BrowserSession(msgspec.Struct, frozen=True):
    """`hash` is the SHA-256 of the cookie's secret, `sealed` the credential as `sealing.seal` left it, `identity` whose it
    is (`Principal.identity`).
    """

    id: str
    hash: bytes
    sealed: bytes
    identity: str
    user_agent: str
    created_at: int
    last_seen_at: int
    expires_at: int


SESSION_FIELDS: Final = BrowserSession.__struct_fields__


def expiry(now: int, credential_expires_at: int | None) -> int:
    """When a session that begins now ends: never later than the credential in it."""
    latest = now + limits.browser_session_s * 1000
    return latest if credential_expires_at is None else min(latest, credential_expires_at)
