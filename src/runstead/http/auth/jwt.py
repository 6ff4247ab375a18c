"""JWT bearer tokens: RS256 and EdDSA, checked against PEM keys, a JWKS, or both."""

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
from runstead.core.errors import Error

token_chars_max: Final = 16 * limits.KIB
seen_tokens_max: Final = 4_096
seen_ms_max: Final = 60_000
skew_ms_max: Final = 10_000
rsa_bits_min: Final = 2_048
rsa_bits_max: Final = 16_384  # OpenSSL verifies with nothing larger
jwks_bytes_max: Final = 256 * limits.KIB
jwks_keys_max: Final = 32  # a token without a kid may cost one signature check each
jwks_timeout_s: Final = 5
jwks_age_ms_max: Final = 600_000
jwks_retry_ms: Final = 30_000
jwks_first_retry_s: Final = 5  # while no key was ever loaded, nothing works: try sooner

_NEVER: Final = -limits.timestamp_ms_max
_NO_KEY: Final = (AttributeError, LookupError, TypeError, ValueError, UnsupportedAlgorithm, jwt.PyJWTError)
_JWS: Final = jwt.PyJWS(algorithms=["RS256", "EdDSA"])
_PEM: Final = re.compile(r"-----BEGIN .+?-----END [^\n]+-----", re.DOTALL)
_URL: Final = re.compile(r"https?://[^\s/?#]+([/?]\S*)?")
_log = structlog.get_logger(__name__)
K = TypeVar("K")
T = TypeVar("T")
Clock = Callable[[], int]
Transport = httpx2.AsyncBaseTransport | None


class Claims(msgspec.Struct, frozen=True):
    """What a verified token says. `expires_at` in ms; `scopes` None where the token names none."""

    user_id: str
    expires_at: int
    project_id: str | None = None
    run_id: str | None = None
    scopes: frozenset[str] | None = None
    token_use: str | None = None


_Names = str | list[str] | None  # one text holds them separated by spaces
_Moment = Annotated[float, msgspec.Meta(ge=0, le=limits.timestamp_ms_max // 1000)]
_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f-\x9f]+\Z")]


class _Payload(msgspec.Struct, rename="camel"):
    """A claim that is there but no good is refused, never passed over: it may be one that narrows."""

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


class Recent(dict[K, tuple[int, int, T]]):
    """A few values by key, each from `since` until `until` (ms), the oldest out first."""

    def live(self, key: K, now: int) -> T | None:
        entry = self.get(key)
        # The lower bound: a wall clock that is set back must not prolong an entry
        return entry[2] if entry is not None and entry[0] <= now < entry[1] else None

    def keep(self, key: K, value: T, since: int, until: int, size_max: int) -> None:
        self.pop(key, None)
        if len(self) >= size_max:
            del self[next(iter(self))]
        self[key] = (since, until, value)


class _Key(NamedTuple):
    """A public key with the one algorithm that its type allows. Without a kid it is tried for any."""

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


def _pem_keys(given: str) -> tuple[_Key, ...]:
    """The keys in PEM text or in the file at a path; ValueError with a sentence for the operator."""
    setting = "RUNSTEAD_JWT_PUBLIC_KEY"
    try:
        # Environment files often hold a PEM on one line, with \n spelled out
        text = given.replace("\\n", "\n") if "-----BEGIN" in given else Path(given).read_text()
    except (OSError, ValueError):
        raise ValueError(f"{setting} is neither PEM text nor the path of a readable PEM file") from None
    if "PRIVATE KEY-----" in text:
        raise ValueError(f"{setting} holds a private key: give the server the public one only")
    try:
        # Without a block, the text as a whole is what cannot be read
        keys = [load_pem_public_key(block.encode()) for block in _PEM.findall(text) or [text]]
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError(f"{setting} holds something that is not a public key in PEM") from None
    return tuple(_pinned(key) for key in keys)


class _JwkSet(msgspec.Struct):
    keys: list[Any]


def _jwks_keys(body: bytes) -> tuple[_Key, ...]:
    """The usable keys of a set; one that is for something else, or broken, harms no other."""
    found: list[_Key] = []
    for jwk in msgspec.json.decode(body, type=_JwkSet).keys:
        with suppress(*_NO_KEY):
            # Only public members are handed on, so that a set with private keys makes no private key here
            public = {name: jwk[name] for name in ("kty", "crv", "n", "e", "x") if name in jwk}
            key = _pinned(jwt.PyJWK(public).key, jwk.get("kid"))
            checks = jwk.get("use", "sig") == "sig" and "verify" in jwk.get("key_ops", ["verify"])
            if checks and jwk.get("alg", key.algorithm) == key.algorithm:
                found.append(key)
    return tuple(found[:jwks_keys_max])


class _Jwks:
    """The keys behind a URL. A fetch that fails keeps the keys there are; many callers share one fetch."""

    def __init__(self, url: str, clock: Clock, transport: Transport, on_change: Callable[[], None]) -> None:
        if not _URL.fullmatch(url):
            raise ValueError("RUNSTEAD_JWKS_URL is not an http or https URL")
        self._url, self._clock, self._transport, self._on_change = url, clock, transport, on_change
        self.keys: tuple[_Key, ...] = ()
        self.loaded_at = self._tried_at = _NEVER
        self._fetch: asyncio.Task[None] | None = None

    async def refresh(self, age_ms_max: int) -> None:
        """Fetch where the keys are missing or older, unless that was tried a moment ago."""
        now = self._clock()
        if self._fetch is None or self._fetch.done():
            pause = jwks_first_retry_s * 1000 if self.loaded_at == _NEVER else jwks_retry_ms
            if 0 <= now - self.loaded_at < age_ms_max or 0 <= now - self._tried_at < pause:
                return
            self._fetch = asyncio.create_task(self._load())
        # A caller that goes away must not take the fetch from the others
        await asyncio.shield(self._fetch)

    async def _load(self) -> None:
        # Uncompressed or not at all: a few bytes on the wire must not become megabytes here
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        client = httpx2.AsyncClient(transport=self._transport, headers=headers, follow_redirects=False)
        body = bytearray()
        try:
            async with asyncio.timeout(jwks_timeout_s), client, client.stream("GET", self._url) as response:
                if response.status_code != 200 or "content-encoding" in response.headers:
                    raise ValueError(f"status {response.status_code}, or compressed")
                async for chunk in response.aiter_bytes():
                    body += chunk
                    if len(body) > jwks_bytes_max:
                        raise ValueError(f"more than {jwks_bytes_max} bytes")
            keys = _jwks_keys(bytes(body))
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError, RecursionError) as error:
            _log.warning("the JWKS could not be fetched", error=repr(error))
            self._tried_at = self._clock()
            return
        self.loaded_at = self._tried_at = self._clock()
        if keys != self.keys:
            self.keys = keys
            self._on_change()


class TokenVerifier:
    """Verifies tokens. Settings it cannot work with raise ValueError, with a sentence for the operator.

    A token that names an audience is refused where none is configured, as PyJWT does and RFC 7519 (4.1.3) asks:
    it was issued for someone, and nothing here says that this is us. `transport` is for tests.
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
        """The claims of a good token; UNAUTHENTICATED, saying what is wrong, for any other."""
        if len(token) > token_chars_max or not token.isascii():
            raise refused("The bearer token is not a signed JWT")
        digest = hashlib.sha256(token.encode()).digest()
        claims = self._seen.live(digest, self._clock())
        if claims is None:
            payload = await self._open(token)
            now = self._clock()
            claims = _claims(payload, now, self._issuer, self._audience)
            self._seen.keep(digest, claims, now, min(now + seen_ms_max, claims.expires_at), seen_tokens_max)
        return claims

    async def _open(self, token: str) -> bytes:
        kid, algorithm = _header(token)
        payload = _opened(token, kid, algorithm, self._own)
        if payload is None and self._jwks is not None:
            await self._jwks.refresh(jwks_age_ms_max)
            payload = _opened(token, kid, algorithm, self._jwks.keys)
            if payload is None and (kid is None or all(key.kid != kid for key in self._jwks.keys)):
                await self._jwks.refresh(0)
                payload = _opened(token, kid, algorithm, self._jwks.keys)
            if payload is None and self._jwks.loaded_at == _NEVER:
                raise refused("The keys for tokens cannot be fetched: try again shortly", jwks_first_retry_s)
        if payload is None:
            raise refused("The token is signed by none of the keys that this server trusts")
        return payload


def refused(message: str, retry_after_s: int | None = None) -> Error:
    return Error("UNAUTHENTICATED", message, retry_after_s=retry_after_s)


def _header(token: str) -> tuple[str | None, str]:
    """(kid, algorithm) as the token claims them: good for choosing among keys, each of which has its own."""
    try:
        header = _JWS.get_unverified_header(token)
    except (jwt.PyJWTError, ValueError):
        raise refused("The bearer token is not a signed JWT") from None
    # PyJWT lets the extension b64 through: no token for this server needs any
    if "crit" in header or "b64" in header:
        raise refused("The token asks for header extensions that are not supported")
    if header.get("alg") not in ("RS256", "EdDSA"):
        raise refused("The token's algorithm is not accepted: sign with RS256 or EdDSA")
    return header.get("kid"), header["alg"]


class _Peek(msgspec.Struct, rename="camel"):
    kid: str | None = None
    token_use: str | None = None


def peeked(token: str) -> tuple[str | None, str | None]:
    """(kid, tokenUse) as a JWT claims them, nothing verified: good for choosing who verifies it."""
    parts = token.split(".")
    with suppress(ValueError):
        header, payload = (
            msgspec.json.decode(urlsafe_b64decode(part + "=" * (-len(part) % 4)), type=_Peek)
            for part in parts[:2]
        )
        return header.kid, payload.token_use
    return None, None


def _opened(token: str, kid: str | None, algorithm: str, keys: Iterable[_Key]) -> bytes | None:
    for key in keys:
        if key.algorithm == algorithm and (kid is None or key.kid is None or key.kid == kid):
            with suppress(jwt.PyJWTError, ValueError):
                return bytes(_JWS.decode_complete(token, key.key, [key.algorithm])["payload"])
    return None


def _claims(payload: bytes, now: int, issuer: str | None, audience: str | None) -> Claims:
    # PyJWT's own checks read the machine's clock, and take numbers in strings for times
    try:
        said = msgspec.json.decode(payload, type=_Payload)
    except (ValueError, RecursionError) as error:
        member = re.search(r"at `\$\.(\w+)", str(error))
        raise refused(f"The token's {member[1] if member else 'claim set'} is malformed") from None
    if said.exp is None:
        raise refused("The token has no exp: only tokens that expire are accepted")
    if said.exp * 1000 <= now:
        raise refused("The token has expired")
    if max(said.nbf, said.iat) * 1000 > now + skew_ms_max:
        raise refused("The token is not valid yet: its nbf or iat lies in the future")
    if issuer is not None and said.iss != issuer:
        raise refused("The token is not from the issuer that this server trusts")
    named = [said.aud] if isinstance(said.aud, str) and said.aud else said.aud or []
    if audience is None and named:
        raise refused("The token is for an audience, and this server has none: set RUNSTEAD_JWT_AUDIENCE")
    if audience is not None and audience not in named:
        raise refused("The token is not for the audience of this server")
    user_id = said.user_id or said.sub
    if user_id is None:
        raise refused("The token names no user: it needs the claim userId or sub")
    names = said.scope if said.scopes is None else said.scopes
    scopes = None if names is None else frozenset(names.split() if isinstance(names, str) else names)
    return Claims(
        user_id=user_id,
        expires_at=int(said.exp * 1000),
        project_id=said.project_id,
        run_id=said.run_id,
        scopes=scopes,
        token_use=said.token_use,
    )
