"""Verify JWT bearer tokens (RS256 and EdDSA) with PEM keys, a JWKS, or both."""

import asyncio
import hashlib
import re
from base64 import urlsafe_b64decode
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple, TypeVar

import httpx2
import jwt
import msgspec
import structlog
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from runstead.core import limits
from runstead.core.clock import now_ms
from runstead.core.errors import Error, UnknownCredentialError

token_chars_max: Final = 16 * limits.KIB
seen_tokens_max: Final = 4_096
seen_ms_max: Final = 60_000
skew_ms_max: Final = 10_000
rsa_bits_min: Final = 2_048
rsa_bits_max: Final = 16_384  # the largest key with which OpenSSL verifies
jwks_bytes_max: Final = 256 * limits.KIB
jwks_keys_max: Final = 32  # a token without a kid may cost one signature check each
jwks_timeout_s: Final = 5
jwks_age_ms_max: Final = 600_000
jwks_retry_ms: Final = 30_000
jwks_first_retry_s: Final = 5  # sooner while no key was ever loaded

_NEVER: Final = -limits.timestamp_ms_max
_KEY_ERRORS: Final = (
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
    UnsupportedAlgorithm,
    jwt.PyJWTError,
)
_JWS: Final = jwt.PyJWS(algorithms=["RS256", "EdDSA"])
_PEM: Final = re.compile(r"-----BEGIN .+?-----END [^\n]+-----", re.DOTALL)
_URL: Final = re.compile(r"https?://[^\s/?#]+([/?]\S*)?")
_log = structlog.get_logger(__name__)
K = TypeVar("K")
T = TypeVar("T")
Clock = Callable[[], int]
Transport = httpx2.AsyncBaseTransport | None


class Claims(msgspec.Struct, frozen=True):
    """The claims of a verified token. `expires_at` in ms. `scopes` is None if the token has no such claim.

    `token_id` is its jti, else the start of its SHA-256. `name` is its name, else its mail address, and
    identifies no one.
    """

    user_id: str
    expires_at: int
    token_id: str = ""
    name: str | None = None
    project_id: str | None = None
    run_id: str | None = None
    scopes: frozenset[str] | None = None
    token_use: str | None = None


_Names = str | list[str] | None  # a string holds them separated by spaces
_Moment = Annotated[float, msgspec.Meta(ge=0, le=limits.timestamp_ms_max // 1000)]
_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f-\x9f]+\Z")]


class _Payload(msgspec.Struct, rename="camel"):
    """The claims that are read.

    A malformed claim is refused, not ignored, since it may restrict the token.
    """

    exp: _Moment | None = None
    nbf: _Moment = 0
    iat: _Moment = 0
    iss: str | None = None
    aud: str | list[str] | None = None
    sub: _Name | None = None
    user_id: _Name | None = None
    project_id: _Name | None = None
    run_id: _Name | None = None
    scopes: _Names = None
    scope: _Names = None
    token_use: _Name | None = None
    # Shown to people only, so a malformed one is left out.
    jti: Any = None
    name: Any = None
    email: Any = None


class Recent(dict[K, tuple[int, int, T]]):
    """A small cache. An entry is valid from `since` until `until` (ms); the oldest entry is evicted first."""

    def live(self, key: K, now: int) -> T | None:
        entry = self.get(key)
        # The lower bound matters when the wall clock is set back: an entry must not live longer.
        return entry[2] if entry is not None and entry[0] <= now < entry[1] else None

    def keep(self, key: K, value: T, since: int, until: int, size_max: int) -> None:
        self.pop(key, None)
        if len(self) >= size_max:
            del self[next(iter(self))]
        self[key] = (since, until, value)


class _Key(NamedTuple):
    """A public key and the only algorithm of its type. A key without a kid is tried for every token."""

    kid: str | None
    algorithm: Literal["RS256", "EdDSA"]
    key: rsa.RSAPublicKey | ed25519.Ed25519PublicKey


def _pinned(key: object, kid: str | None = None) -> _Key:
    if isinstance(key, ed25519.Ed25519PublicKey):
        return _Key(kid, "EdDSA", key)
    if not isinstance(key, rsa.RSAPublicKey):
        raise ValueError("A key for JWTs must be an RSA or an Ed25519 public key")  # noqa: TRY004
    if not rsa_bits_min <= key.key_size <= rsa_bits_max:
        raise ValueError(f"An RSA key for JWTs has {rsa_bits_min} to {rsa_bits_max} bits, not {key.key_size}")
    return _Key(kid, "RS256", key)


def _pem_keys(setting_value: str) -> tuple[_Key, ...]:
    """Parse PEM text, or the PEM file at a path. Raises ValueError with a message for the operator."""
    setting = "RUNSTEAD_JWT_PUBLIC_KEY"
    try:
        # Environment files often hold a PEM on one line, with the two characters \n as line breaks.
        text = (
            setting_value.replace("\\n", "\n")
            if "-----BEGIN" in setting_value
            else Path(setting_value).read_text()
        )
    except (OSError, ValueError):
        raise ValueError(f"{setting} is neither PEM text nor the path of a readable PEM file") from None
    if "PRIVATE KEY-----" in text:
        raise ValueError(f"{setting} holds a private key: configure the public key only")
    try:
        # Without a PEM block, loading the whole text raises the error.
        keys = [load_pem_public_key(block.encode()) for block in _PEM.findall(text) or [text]]
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError(f"{setting} holds text that is not a public key in PEM") from None
    return tuple(_pinned(key) for key in keys)


class _JwkSet(msgspec.Struct):
    keys: list[Any]


def _jwks_keys(body: bytes) -> tuple[_Key, ...]:
    """Return the usable keys of a set. Broken keys and keys for other uses are skipped."""
    found: list[_Key] = []
    for jwk in msgspec.json.decode(body, type=_JwkSet).keys:
        with suppress(*_KEY_ERRORS):
            # Only public members are passed on, so that no private key is built from the set.
            public = {name: jwk[name] for name in ("kty", "crv", "n", "e", "x") if name in jwk}
            key = _pinned(jwt.PyJWK(public).key, jwk.get("kid"))
            verifies = jwk.get("use", "sig") == "sig" and "verify" in jwk.get("key_ops", ["verify"])
            if verifies and jwk.get("alg", key.algorithm) == key.algorithm:
                found.append(key)
    return tuple(found[:jwks_keys_max])


class _Jwks:
    """The keys of a URL. A failed fetch keeps the current keys. Concurrent callers share one fetch."""

    def __init__(self, url: str, clock: Clock, transport: Transport, on_change: Callable[[], None]) -> None:
        if not _URL.fullmatch(url):
            raise ValueError("RUNSTEAD_JWKS_URL is not an http or https URL")
        self._url, self._clock, self._transport, self._on_change = url, clock, transport, on_change
        self.keys: tuple[_Key, ...] = ()
        self.loaded_at = self._tried_at = _NEVER
        self._fetch: asyncio.Task[None] | None = None

    async def refresh(self, age_ms_max: int) -> None:
        """Fetch the keys if they are older than `age_ms_max`, unless the last attempt was recent."""
        now = self._clock()
        if self._fetch is None or self._fetch.done():
            pause = jwks_first_retry_s * 1000 if self.loaded_at == _NEVER else jwks_retry_ms
            if 0 <= now - self.loaded_at < age_ms_max or 0 <= now - self._tried_at < pause:
                return
            self._fetch = asyncio.create_task(self._load())
        # The cancellation of one caller must not cancel the fetch of the others.
        await asyncio.shield(self._fetch)

    async def _load(self) -> None:
        # Compressed answers are refused, since a few bytes could expand to megabytes.
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        client = httpx2.AsyncClient(transport=self._transport, headers=headers, follow_redirects=False)
        body = bytearray()
        try:
            async with asyncio.timeout(jwks_timeout_s), client, client.stream("GET", self._url) as response:
                if response.status_code != 200 or "content-encoding" in response.headers:
                    raise ValueError(f"status {response.status_code}, or a compressed body")
                async for chunk in response.aiter_bytes():
                    body += chunk
                    if len(body) > jwks_bytes_max:
                        raise ValueError(f"more than {jwks_bytes_max} bytes")
            keys = _jwks_keys(bytes(body))
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError, RecursionError) as error:
            _log.warning("fetching the JWKS failed", error=repr(error))
            self._tried_at = self._clock()
            return
        self.loaded_at = self._tried_at = self._clock()
        if keys != self.keys:
            self.keys = keys
            self._on_change()


class TokenVerifier:
    """Verifies tokens. Invalid settings raise ValueError with a message for the operator.

    A token with an audience is refused if no audience is configured, as RFC 7519 (4.1.3) requires and PyJWT
    does. `transport` is for tests.
    """

    def __init__(
        self,
        public_key: str | None = None,
        jwks_url: str | None = None,
        issuer: str | None = None,
        audience: str | None = None,
        clock: Clock = now_ms,
        *,
        transport: Transport = None,
    ) -> None:
        if not public_key and not jwks_url:
            raise ValueError("JWTs need RUNSTEAD_JWT_PUBLIC_KEY or RUNSTEAD_JWKS_URL")
        self._seen: Recent[bytes, Claims] = Recent()
        self._own = _pem_keys(public_key) if public_key else ()
        self._jwks = _Jwks(jwks_url, clock, transport, self._seen.clear) if jwks_url else None
        self._issuer, self._audience, self._clock = issuer or None, audience or None, clock

    async def verify(self, token: str) -> Claims:
        """Return the claims of a valid token. Raises UNAUTHENTICATED with the reason."""
        if len(token) > token_chars_max or not token.isascii():
            raise unknown("The bearer token is not a signed JWT")
        digest = hashlib.sha256(token.encode()).digest()
        claims = self._seen.live(digest, self._clock())
        if claims is None:
            payload = await self._verified(token)
            now = self._clock()
            claims = _claims(payload, now, self._issuer, self._audience, digest_id(digest))
            self._seen.keep(digest, claims, now, min(now + seen_ms_max, claims.expires_at), seen_tokens_max)
        return claims

    async def payload(self, token: str) -> bytes:
        """Return the claims of a signed token, of which none was checked. Raises UNAUTHENTICATED."""
        if len(token) > token_chars_max or not token.isascii():
            raise refused("The token is not a signed JWT")
        return await self._verified(token)

    async def _verified(self, token: str) -> bytes:
        kid, algorithm = _header(token)
        payload = _verify_with(token, kid, algorithm, self._own)
        if payload is None and self._jwks is not None:
            await self._jwks.refresh(jwks_age_ms_max)
            payload = _verify_with(token, kid, algorithm, self._jwks.keys)
            if payload is None and (kid is None or all(key.kid != kid for key in self._jwks.keys)):
                await self._jwks.refresh(0)
                payload = _verify_with(token, kid, algorithm, self._jwks.keys)
            if payload is None and self._jwks.loaded_at == _NEVER:
                raise refused("The keys for tokens cannot be fetched: retry later", jwks_first_retry_s)
        if payload is None:
            raise unknown("The token is not signed by a key that this server trusts")
        return payload


def refused(message: str, retry_after_s: int | None = None) -> Error:
    """UNAUTHENTICATED for a credential that was issued but is not valid (now)."""
    return Error("UNAUTHENTICATED", message, retry_after_s=retry_after_s)


def unknown(message: str) -> Error:
    """UNAUTHENTICATED for a credential that may be a guess."""
    return UnknownCredentialError("UNAUTHENTICATED", message)


def _header(token: str) -> tuple[str | None, str]:
    """Return (kid, algorithm) of the unverified header.

    They only select keys, and each key has its own algorithm.
    """
    try:
        header = _JWS.get_unverified_header(token)
    except (jwt.PyJWTError, ValueError):
        raise unknown("The bearer token is not a signed JWT") from None
    # PyJWT accepts the extension b64, which this server does not support.
    if "crit" in header or "b64" in header:
        raise unknown("The token uses header extensions that are not supported")
    if header.get("alg") not in ("RS256", "EdDSA"):
        raise unknown("The token's algorithm is not accepted: sign with RS256 or EdDSA")
    return header.get("kid"), header["alg"]


class _Peek(msgspec.Struct, rename="camel"):
    kid: str | None = None
    token_use: str | None = None


def unverified_claims(token: str) -> tuple[str | None, str | None]:
    """Return the unverified (kid, tokenUse) of a JWT, to choose its verifier."""
    parts = token.split(".")
    with suppress(ValueError):
        header, payload = (
            msgspec.json.decode(urlsafe_b64decode(part + "=" * (-len(part) % 4)), type=_Peek)
            for part in parts[:2]
        )
        return header.kid, payload.token_use
    return None, None


def _verify_with(token: str, kid: str | None, algorithm: str, keys: Iterable[_Key]) -> bytes | None:
    for key in keys:
        if key.algorithm == algorithm and (kid is None or key.kid is None or key.kid == kid):
            with suppress(jwt.PyJWTError, ValueError):
                return bytes(_JWS.decode_complete(token, key.key, [key.algorithm])["payload"])
    return None


def digest_id(digest: bytes) -> str:
    """Return an id for a token without one: the start of its SHA-256."""
    return f"sha256:{digest[:8].hex()}"


def _shown(claim: object) -> str | None:
    """Return a claim that is a short printable text, else None."""
    if isinstance(claim, str) and 0 < len(claim) <= limits.name_chars_max and claim.isprintable():
        return claim
    return None


def _claims(payload: bytes, now: int, issuer: str | None, audience: str | None, token_id: str) -> Claims:
    # Not PyJWT's checks: they read the machine's clock and accept numbers in strings as times.
    try:
        claims = msgspec.json.decode(payload, type=_Payload)
    except (ValueError, RecursionError) as error:
        member = re.search(r"at `\$\.(\w+)", str(error))
        raise refused(f"The token's {member[1] if member else 'claim set'} is malformed") from None
    if claims.exp is None:
        raise refused("The token has no exp: only tokens with an expiry are accepted")
    if claims.exp * 1000 <= now:
        raise refused("The token has expired")
    if max(claims.nbf, claims.iat) * 1000 > now + skew_ms_max:
        raise refused("The token is not valid yet: its nbf or iat is in the future")
    if issuer is not None and claims.iss != issuer:
        raise refused("The token is not from the issuer that this server trusts")
    audiences = [claims.aud] if isinstance(claims.aud, str) and claims.aud else claims.aud or []
    if audience is None and audiences:
        raise refused("The token has an audience, but none is configured: set RUNSTEAD_JWT_AUDIENCE")
    if audience is not None and audience not in audiences:
        raise refused("The token is not for the audience of this server")
    user_id = claims.user_id or claims.sub
    if user_id is None:
        raise refused("The token has no user: it needs the claim userId or sub")
    names = claims.scope if claims.scopes is None else claims.scopes
    scopes = None if names is None else frozenset(names.split() if isinstance(names, str) else names)
    return Claims(
        user_id=user_id,
        expires_at=int(claims.exp * 1000),
        token_id=_shown(claims.jti) or token_id,
        name=_shown(claims.name) or _shown(claims.email),
        project_id=claims.project_id,
        run_id=claims.run_id,
        scopes=scopes,
        token_use=claims.token_use,
    )
