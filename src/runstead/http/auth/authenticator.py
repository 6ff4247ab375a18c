"""Turn the credential of a request into a Principal: API keys, worker tokens, JWTs (contract A1)."""

import asyncio
import hashlib
import hmac
from collections.abc import Callable, Collection, Iterable
from typing import Annotated, Final, Literal

import msgspec
from msgspec.structs import replace

from runstead.commands.issuers import is_live
from runstead.core import limits
from runstead.core.clock import now_ms
from runstead.core.identity.issuer import Issuer, parse_issuer
from runstead.core.identity.openid import GroupRole, OpenIdUser
from runstead.core.identity.principal import DEFAULT_SCOPES, ROLE_SCOPES, Principal, Scope, expand
from runstead.core.identity.project import key_prefix, personal_project
from runstead.core.identity.tenant import AUTHENTICATION, tenant
from runstead.http.auth.jwt import (
    Claims,
    Recent,
    TokenVerifier,
    digest_id,
    refused,
    skew_ms_max,
    token_chars_max,
    unknown,
    unverified_claims,
)
from runstead.http.auth.throttle import FailureThrottle
from runstead.ports.store import Store
from runstead.security.signing import (
    APPEND,
    CONVERSATION_READER,
    RUN_EVENT_WRITER,
    RUN_READER,
    RUN_SERVICE,
    Keyring,
)

seen_credentials_max: Final = 8_192
seen_credential_ms: Final = 2_000
touch_ms: Final = 60_000

_MISSING: Final = 'Send a credential: "Authorization: Bearer <token or key>" or "X-API-Key: <key>"'
_MALFORMED: Final = 'The Authorization header is not "Bearer <token or key>"'
_NOT_A_KEY: Final = "X-API-Key must be an API key, vf_<prefix>_<secret>: send other credentials as Bearer"
_UNKNOWN: Final = "The API key is unknown or revoked"
_OF_ONE_RUN: Final = frozenset({Scope.RUNS_READ, Scope.RUNS_WRITE})
_KNOWN_SCOPES: Final = frozenset(scope.value for scope in Scope)


# Neither NUL, which PostgreSQL refuses, nor half of a character, which has no encoding.
_Id = Annotated[str, msgspec.Meta(min_length=1, pattern=r"^[^\x00\ud800-\udfff]+$")]


class _RunToken(msgspec.Struct, rename="camel"):
    """The claims of a token that this server signed. Without `issuer`, the push service is the issuer."""

    user_id: _Id
    service_account_id: _Id
    token_use: str
    project_id: _Id
    scopes: list[str]
    iat: int
    exp: int
    run_id: _Id | None = None
    conversation_id: _Id | None = None
    family: bool = False
    issuer: str | None = None


_Kind = Literal["event_writer", "service", "run_reader", "conversation_reader"]

#: The use of such a token → the kind of caller, and the scope that its issuer must have.
_KINDS: Final[dict[str, tuple[_Kind, Scope]]] = {
    RUN_EVENT_WRITER: ("event_writer", Scope.RUNS_WRITE),
    RUN_SERVICE: ("service", Scope.RUNS_WRITE),
    RUN_READER: ("run_reader", Scope.RUNS_READ),
    CONVERSATION_READER: ("conversation_reader", Scope.RUNS_READ),
}

#: The headers Authorization and X-API-Key, as they were received.
Credential = tuple[bytes | None, bytes | None]

_Found = tuple[Principal, int | None]
"""The caller and the credential's expiry (ms), if it has one."""


def bearer(credential: str) -> Credential:
    """Return the headers with which a program sends the credential."""
    return b"Bearer " + credential.encode(errors="surrogatepass"), None


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
        admins: Collection[str] = (),
    ) -> None:
        """`admins`: the ids of the users who have the scope `system`."""
        self._store = store
        self._admins = frozenset(admins)
        self.throttle = FailureThrottle(lambda: clock() / 1000)
        self._keyring = keyring or Keyring(store.signing_keys, clock=clock)
        self._verifier = verifier
        self._clock = clock
        self._seen: Recent[Credential, Principal] = Recent()
        self._forgets = 0
        self._looking: dict[Credential, asyncio.Event] = {}  # look-ups in progress
        self._used: dict[str, int] = {}
        self._flushed_at: int | None = None

    async def authenticate(self, credential: Credential, address: str | None = None) -> Principal:
        """Return the caller at `address`, for whom the current task works from now on.

        Raises UNAUTHENTICATED with the reason, AUTHENTICATION_THROTTLED.
        """
        now = self._clock()
        principal = self._seen.live(credential, now)
        if principal is None:
            tenant.set(AUTHENTICATION)
            principal = await self._look_up_once(credential, now, address)
        if principal.kind == "api_key":
            self._used[principal.id] = now
        tenant.set(principal.tenant)
        return principal

    def forget(self) -> None:
        """Clear the cache, after a revocation or a change of members."""
        self._forgets += 1
        self._seen.clear()
        self._looking.clear()

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

    async def examine(self, credential: str, address: str | None = None) -> tuple[Principal, int | None]:
        """Return the caller at `address` and the credential's expiry (ms). The cache is not used.

        Raises UNAUTHENTICATED, AUTHENTICATION_THROTTLED.
        """
        token = _token(bearer(credential))
        return await self._find(token, self._clock(), address)

    async def _find(self, token: str, now: int, address: str | None) -> _Found:
        digest = hashlib.sha256(token.encode()).digest()
        if token.startswith("vf_"):
            with self.throttle.look_up("api_key", digest, address):
                return await self._api_key(token, digest, now)
        if token.startswith("vfw_"):
            with self.throttle.look_up("worker_token", digest, address):
                return await self._worker(digest, now)
        with self.throttle.look_up("token", digest, address):
            return await self._user(token, digest, now)

    async def _look_up_once(self, credential: Credential, now: int, address: str | None) -> Principal:
        """Look the credential up for all requests that wait for it: many callers share one, and it expires for all at
        once. If it is refused, each request looks it up itself, so that each counts as a failed attempt.
        """
        found = self._looking.get(credential)
        if found is not None:
            await found.wait()
            principal = self._seen.live(credential, now)
            return principal or await self._look_up(credential, now, address)
        found = self._looking[credential] = asyncio.Event()
        try:
            return await self._look_up(credential, now, address)
        finally:
            if self._looking.get(credential) is found:
                del self._looking[credential]
            found.set()

    async def _look_up(self, credential: Credential, now: int, address: str | None) -> Principal:
        forgets = self._forgets
        principal, expires_at = await self._find(_token(credential), now, address)
        if principal.service_id is None:  # published push services send no attempt
            fenced = await self._store.identity.fenced(tuple(principal.grants))
            principal = replace(principal, fenced=fenced) if fenced else principal
        # A credential that was read before forget() may be revoked by now.
        if forgets == self._forgets:
            until = now + seen_credential_ms
            if expires_at is not None:
                until = min(until, expires_at)
            self._seen.keep(credential, principal, now, until, seen_credentials_max)
        return principal

    async def _api_key(self, token: str, digest: bytes, now: int) -> _Found:
        key = await self._store.identity.key_by_hash(digest) if key_prefix(token) else None
        # One message for unknown and revoked keys, so that it does not reveal whether a key existed.
        if key is None or not hmac.compare_digest(key.hash, digest):
            raise unknown(_UNKNOWN)
        if key.revoked_at is not None:
            raise refused(_UNKNOWN)
        if key.expires_at is not None and key.expires_at <= now:
            raise refused("The API key has expired")
        principal = Principal(
            "api_key",
            key.id,
            {key.project_id: expand(key.scopes - {Scope.SYSTEM})},
            system=Scope.SYSTEM in key.scopes,
            credential_id=key.id,
            name=key.name,
            requests_per_minute=key.requests_per_minute,
            runs_per_minute=key.runs_per_minute,
        )
        return principal, key.expires_at

    async def _worker(self, digest: bytes, now: int) -> _Found:
        worker = await self._store.workers.by_token(digest)
        if worker is None:
            raise unknown("The worker token is invalid or was replaced: register the worker again")
        if worker.expires_at <= now:
            raise refused("The worker token has expired: register the worker again")
        if worker.issuer is not None:
            await self._check_issuer(worker.issuer, Scope.WORKERS, worker.project_id, now)
        grants = {worker.project_id: frozenset({Scope.WORKERS})}
        principal = Principal(
            "worker",
            worker.id,
            grants,
            worker_id=worker.id,
            credential_id=worker.id,
            name=worker.display_name or worker.worker_key,
        )
        return principal, worker.expires_at

    async def _check_issuer(self, text: str, scope: Scope, project_id: str, now: int) -> None:
        """Raise UNAUTHENTICATED if the issuer of a token no longer has the scope of the token."""
        issuer = parse_issuer(text)
        if issuer is None or not await is_live(self._store, issuer, scope, project_id, now):
            raise refused(
                "The issuer of the token was revoked, disabled or removed, or it lost the scope"
                f" {scope.value}: get a new token"
            )

    async def _run_token(self, token: str, digest: bytes, now: int) -> _Found | None:
        """Return the caller of a token that this server signed for one run or conversation. None: another token."""
        kid, use = unverified_claims(token)
        if kid is None or use not in _KINDS:
            return None
        payload = await self._keyring.verify(token, kid)
        if payload is None:
            return None
        try:
            claims = msgspec.convert(payload, _RunToken)
        except msgspec.ValidationError:
            claims = None
        if claims is None or (claims.run_id is None) is not (use == CONVERSATION_READER):
            raise refused("The claims of the token are malformed: get a new token")
        if claims.exp * 1000 <= now:
            raise refused("The token has expired")
        if claims.iat * 1000 > now + skew_ms_max:
            raise refused("The token is not valid yet: its iat is in the future")
        # The server signs no such token. A thief of a signing key could.
        if claims.exp - claims.iat > limits.run_token_s:
            raise refused(f"The token is valid for more than {limits.run_token_s} s")
        kind, scope = _KINDS[claims.token_use]
        service = await self._store.push_services.get(claims.service_account_id)
        # A caller that is no service gets tokens to read its runs, and for children of its runs. They name that caller twice.
        if service is None and not (kind != "service" and claims.service_account_id == claims.user_id):
            raise refused("The push service of this token does not exist")
        if service is not None and service.disabled_at is not None:
            raise refused("The push service of this token is disabled")
        issuer = claims.issuer or str(Issuer("push_service", claims.service_account_id))
        await self._check_issuer(issuer, scope, claims.project_id, now)
        if kind == "event_writer" and claims.scopes != [APPEND]:
            raise refused(f"A token for appending events must have the scope {APPEND} only")
        principal = Principal(
            kind,
            claims.user_id,
            {claims.project_id: _OF_ONE_RUN if kind == "service" else frozenset()},
            claims.run_id,
            claims.conversation_id if kind == "conversation_reader" else None,
            service_id=claims.service_account_id,
            family=kind == "service" or claims.family,
            issuer=issuer,
            credential_id=digest_id(digest),
            name=None if service is None else service.service_name,
        )
        return principal, claims.exp * 1000

    async def _user(self, token: str, digest: bytes, now: int) -> _Found:
        if (own := await self._run_token(token, digest, now)) is not None:
            return own
        if self._verifier is None:
            raise unknown("The credential is not an API key, and this server does not accept JWTs")
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
        principal = Principal(
            "user",
            claims.user_id,
            grants,
            claims.run_id,
            system=self._has_system(claims),
            narrowed=_narrowed(claims),
            credential_id=claims.token_id,
            name=claims.name,
        )
        return principal, claims.expires_at

    def _has_system(self, claims: Claims) -> bool:
        if claims.user_id not in self._admins or claims.project_id is not None or claims.run_id is not None:
            return False
        return claims.scopes is None or Scope.SYSTEM in claims.scopes

    async def openid_user(self, user: OpenIdUser, roles: Iterable[GroupRole]) -> Principal:
        """Return the principal of a user whom an OpenID provider identified, as a member and with these roles."""
        now = self._clock()
        grants = await self._grants(Claims(user.user_id, now), now)
        identity = self._store.identity
        found = [(await identity.project(each.project), each.role) for each in roles]
        projects = {project.id for project, _ in found if project is not None}
        removed = await identity.removed_from(user.user_id, tuple(projects - grants.keys()))
        for project, role in found:
            if project is not None and project.id not in removed:
                grants[project.id] = grants.get(project.id, frozenset()) | ROLE_SCOPES[role]
        system = user.user_id in self._admins
        return Principal("user", user.user_id, grants, system=system, name=user.name)

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
        known = project is not None and project.id == claimed
        if known and (claimed in roles or not await identity.removed_from(claims.user_id, (claimed,))):
            grants[claimed] = grants.get(claimed, frozenset()) | DEFAULT_SCOPES
        return {claimed: grants[claimed]} if claimed in grants else {}


def _narrowed(claims: Claims) -> bool:
    """Whether the claims leave out rights of the user. The scope `admin` includes all scopes of a project."""
    if claims.project_id is not None or claims.run_id is not None:
        return True
    return claims.scopes is not None and Scope.ADMIN not in claims.scopes


def _token(credential: Credential) -> str:
    """Extract the one credential of the headers. Raises UNAUTHENTICATED."""
    authorization, x_api_key = (None if header is None else header.decode("latin-1") for header in credential)
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
