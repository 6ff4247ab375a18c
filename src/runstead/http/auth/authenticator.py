"""Turn the credential of a request into a Principal: API keys, worker tokens, JWTs (contract A1)."""

import hashlib
import hmac
from collections.abc import Callable
from typing import Final

import msgspec

from runstead.core.clock import now_ms
from runstead.core.identity.principal import DEFAULT_SCOPES, ROLE_SCOPES, Principal, Scope, expand
from runstead.core.identity.project import key_prefix, personal_project
from runstead.core.identity.tenant import tenant
from runstead.http.auth.jwt import (
    Claims,
    Recent,
    TokenVerifier,
    refused,
    skew_ms_max,
    token_chars_max,
    unverified_claims,
)
from runstead.ports.store import Store
from runstead.security.signing import APPEND, RUN_EVENT_WRITER, RUN_SERVICE, Keyring

seen_credentials_max: Final = 8_192
seen_credential_ms: Final = 2_000
touch_ms: Final = 60_000

_MISSING: Final = 'Send a credential: "Authorization: Bearer <token or key>" or "X-API-Key: <key>"'
_MALFORMED: Final = 'The Authorization header is not "Bearer <token or key>"'
_NOT_A_KEY: Final = "X-API-Key must be an API key, vf_<prefix>_<secret>: send other credentials as Bearer"
_UNKNOWN: Final = "The API key is unknown or revoked"
_OF_ONE_RUN: Final = frozenset({Scope.RUNS_READ, Scope.RUNS_WRITE})
_KNOWN_SCOPES: Final = frozenset(scope.value for scope in Scope)


class _RunToken(msgspec.Struct, rename="camel"):
    """The claims of a token that this server signed."""

    user_id: str
    service_account_id: str
    token_use: str
    project_id: str
    run_id: str
    scopes: list[str]
    iat: int
    exp: int


_Found = tuple[Principal, int | None]
"""The caller and the credential's expiry (ms), if it has one."""


class Authenticator:
    """Authenticates every request.

    A valid credential is cached for two seconds, so a revocation by another process takes effect within that
    time. This process clears the cache with `forget`. No entry outlives its credential's expiry, and refusals
    are not cached.
    """

    def __init__(
        self,
        store: Store,
        verifier: TokenVerifier | None,
        clock: Callable[[], int] = now_ms,
        keyring: Keyring | None = None,
    ) -> None:
        self._store = store
        self._keyring = keyring or Keyring(store.signing_keys, clock=clock)
        self._verifier = verifier
        self._clock = clock
        # By both headers as they were received.
        self._seen: Recent[tuple[str | None, str | None], Principal] = Recent()
        self._forgets = 0
        self._used: dict[str, int] = {}
        self._flushed_at: int | None = None

    async def authenticate(self, authorization: str | None, x_api_key: str | None) -> Principal:
        """Return the caller, for whom the current task works from now on. Raises UNAUTHENTICATED with the reason."""
        headers, now = (authorization, x_api_key), self._clock()
        principal = self._seen.live(headers, now)
        if principal is None:
            principal = await self._look_up(headers, now)
        if principal.kind == "api_key":
            self._used[principal.id] = now
        tenant.set(principal.tenant)
        return principal

    def forget(self) -> None:
        """Clear the cache, after a revocation or a change of members."""
        self._forgets += 1
        self._seen.clear()

    async def flush(self, *, force: bool = False) -> None:
        """Store the last use of keys: at most once a minute, unless forced, as on shutdown."""
        now = self._clock()
        due = self._flushed_at is None or not 0 <= now - self._flushed_at < touch_ms
        if not self._used or not (due or force):
            return
        used, self._used = self._used, {}
        try:
            await self._store.identity.touch_keys(used)
        except BaseException:
            self._used = used | self._used
            raise
        self._flushed_at = now

    async def examine(self, credential: str) -> tuple[Principal, int | None]:
        """Return the caller and the credential's expiry (ms). The cache is not used.

        Raises UNAUTHENTICATED.
        """
        token = _credential(f"Bearer {credential}", None)
        return await self._find(token, self._clock())

    async def _find(self, token: str, now: int) -> _Found:
        digest = hashlib.sha256(token.encode()).digest()
        if token.startswith("vf_"):
            return await self._api_key(token, digest, now)
        if token.startswith("vfw_"):
            return await self._worker(digest)
        return await self._user(token, now)

    async def _look_up(self, headers: tuple[str | None, str | None], now: int) -> Principal:
        forgets = self._forgets
        principal, expires_at = await self._find(_credential(*headers), now)
        # A credential that was read before forget() may be revoked by now.
        if forgets == self._forgets:
            until = now + seen_credential_ms
            if expires_at is not None:
                until = min(until, expires_at)
            self._seen.keep(headers, principal, now, until, seen_credentials_max)
        return principal

    async def _api_key(self, token: str, digest: bytes, now: int) -> _Found:
        key = await self._store.identity.key_by_hash(digest) if key_prefix(token) else None
        # One message for unknown and revoked keys, so that it does not reveal whether a key existed.
        if key is None or not hmac.compare_digest(key.hash, digest) or key.revoked_at is not None:
            raise refused(_UNKNOWN)
        if key.expires_at is not None and key.expires_at <= now:
            raise refused("The API key has expired")
        return Principal("api_key", key.id, {key.project_id: expand(key.scopes)}), key.expires_at

    async def _worker(self, digest: bytes) -> _Found:
        worker = await self._store.workers.by_token(digest)
        if worker is None:
            raise refused("The worker token is invalid or was replaced: register the worker again")
        grants = {worker.project_id: frozenset({Scope.WORKERS})}
        return Principal("worker", worker.id, grants, worker_id=worker.id), None

    async def _run_token(self, token: str, now: int) -> _Found | None:
        """Return the caller of a token that this server signed for one run. None: another token."""
        kid, use = unverified_claims(token)
        if kid is None or use not in (RUN_EVENT_WRITER, RUN_SERVICE):
            return None
        payload = await self._keyring.verify(token, kid)
        if payload is None:
            return None
        claims = msgspec.convert(payload, _RunToken)
        if claims.exp * 1000 <= now:
            raise refused("The token has expired")
        if claims.iat * 1000 > now + skew_ms_max:
            raise refused("The token is not valid yet: its iat is in the future")
        service = await self._store.push_services.get(claims.service_account_id)
        if service is not None and service.disabled_at is not None:
            raise refused("The push service of this token is disabled")
        writer = claims.token_use == RUN_EVENT_WRITER
        if writer and claims.scopes != [APPEND]:
            raise refused(f"A token for appending events must have the scope {APPEND} only")
        principal = Principal(
            "event_writer" if writer else "service",
            claims.user_id,
            {claims.project_id: frozenset() if writer else _OF_ONE_RUN},
            claims.run_id,
            service_id=claims.service_account_id,
            family=not writer,
        )
        return principal, claims.exp * 1000

    async def _user(self, token: str, now: int) -> _Found:
        if (own := await self._run_token(token, now)) is not None:
            return own
        if self._verifier is None:
            raise refused("The credential is not an API key, and this server does not accept JWTs")
        claims = await self._verifier.verify(token)
        # Such a token may only append to one run. No scope is that narrow: as a user's token it would carry
        # all of the user's rights.
        if claims.token_use == "run_event_writer":  # noqa: S105 - a kind, not a secret
            raise refused("A token for appending the events of one run is not accepted here")
        grants = await self._grants(claims, now)
        if claims.scopes is not None:
            allowed = expand(frozenset(Scope(name) for name in claims.scopes & _KNOWN_SCOPES))
            grants = {project_id: scopes & allowed for project_id, scopes in grants.items()}
        if claims.run_id is not None:  # valid for that run only: not for workers, keys or members
            grants = {project_id: scopes & _OF_ONE_RUN for project_id, scopes in grants.items()}
        return Principal("user", claims.user_id, grants, claims.run_id), claims.expires_at

    async def _grants(self, claims: Claims, now: int) -> dict[str, frozenset[Scope]]:
        """Return the user's scopes by project: as a member, in the personal and in the token's project.

        The personal project need not be stored yet. A token with a project is valid for that project only.
        """
        identity = self._store.identity
        roles = await identity.roles(claims.user_id)
        grants = {project_id: ROLE_SCOPES[role] for project_id, role in roles.items()}
        personal = personal_project(claims.user_id, now).id
        grants[personal] = grants.get(personal, frozenset()) | DEFAULT_SCOPES
        claimed = claims.project_id
        if claimed is None:
            return grants
        project = await identity.project(claimed)
        # The claim must be an id. A slug is not accepted, since the creator of a project chooses its slug.
        if project is not None and project.id == claimed:
            grants[claimed] = grants.get(claimed, frozenset()) | DEFAULT_SCOPES
        return {claimed: grants[claimed]} if claimed in grants else {}


def _credential(authorization: str | None, x_api_key: str | None) -> str:
    """Extract the one credential of the headers. Raises UNAUTHENTICATED."""
    if authorization is not None:
        scheme, _, token = authorization.partition(" ")
        token = token.strip(" ")
        if scheme.lower() != "bearer" or not token:
            raise refused(_MALFORMED)
        if x_api_key is not None and x_api_key != token:
            raise refused("Authorization and X-API-Key carry different credentials: send one of them")
    elif x_api_key is not None:
        token = x_api_key
    else:
        raise refused(_MISSING)
    if x_api_key is not None and not token.startswith("vf_"):
        raise refused(_NOT_A_KEY)
    # The bound also keeps hashing cheap.
    if len(token) > token_chars_max or not token.isascii():
        raise refused("The credential is too long or has invalid characters")
    return token
