"""Sign-in with an OpenID provider: OpenID Connect Core 1.0, authorization code flow with PKCE (RFC 7636, S256).

The state of a sign-in that has begun is in a cookie of the browser (`PendingSignIn`), so any replica can finish it.
"""

import asyncio
import base64
import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final, TypeVar
from urllib.parse import quote_plus, urlencode, urlsplit

import httpx2
import msgspec
import structlog

from runstead.core import limits
from runstead.core.clock import now_ms
from runstead.core.errors import Error
from runstead.core.identity.openid import OpenIdSettings, OpenIdUser
from runstead.http.auth.jwt import Clock, TokenVerifier, Transport, skew_ms_max

_CHALLENGE_METHOD: Final = "S256"
_log = structlog.get_logger(__name__)
T = TypeVar("T")
_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f-\x9f]+\Z")]


class OpenIdError(Exception):
    """A sign-in that failed. The message is for the user. `unavailable`: the provider does not answer as it should."""

    def __init__(self, message: str, *, unavailable: bool = False) -> None:
        super().__init__(message)
        self.unavailable = unavailable


class PendingSignIn(msgspec.Struct, frozen=True):
    """What the callback compares with the provider's answer. `to` is the page to show after the sign-in, `begun_at`
    in ms.
    """

    state: str
    nonce: str
    verifier: str
    to: str
    begun_at: int


class _Provider(msgspec.Struct, frozen=True):
    """The members of the discovery document that are used (OpenID Connect Discovery 1.0, section 3)."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None = None
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)
    code_challenge_methods_supported: tuple[str, ...] = (_CHALLENGE_METHOD,)


class _Tokens(msgspec.Struct, frozen=True):
    id_token: str
    access_token: str | None = None


class _IdToken(msgspec.Struct, frozen=True):
    iss: str
    sub: _Name
    aud: str | list[str]
    exp: float
    iat: float
    nonce: str | None = None
    azp: str | None = None


class OpenIdClient:
    """Signs users in at one provider. Its discovery document is read when it is first needed and every
    `limits.openid_discovery_s`. While the provider does not answer, the document that was read last is used.
    """

    def __init__(
        self, settings: OpenIdSettings, clock: Clock = now_ms, *, transport: Transport = None
    ) -> None:
        self.settings, self._clock, self._transport = settings, clock, transport
        self._provider: _Provider | None = None
        self._verifier: TokenVerifier | None = None
        self._read_at = 0
        self._discovery = asyncio.Lock()
        self._slots = asyncio.Semaphore(limits.openid_sign_ins_max)

    async def begin(self, to: str) -> tuple[str, PendingSignIn]:
        """Return the address at the provider to which the browser is sent, and what `finish` needs. OpenIdError."""
        provider, _ = await self._discover()
        pending = PendingSignIn(_random(), _random(), _random(), to, self._clock())
        challenge = base64.urlsafe_b64encode(hashlib.sha256(pending.verifier.encode()).digest())
        query = {
            "response_type": "code",
            "client_id": self.settings.client_id,
            "redirect_uri": self.settings.redirect_uri,
            "scope": self.settings.scopes,
            "state": pending.state,
            "nonce": pending.nonce,
            "code_challenge": challenge.rstrip(b"=").decode(),
            "code_challenge_method": _CHALLENGE_METHOD,
        }
        address = provider.authorization_endpoint
        return f"{address}{'&' if '?' in address else '?'}{urlencode(query)}", pending

    async def finish(self, pending: PendingSignIn, query: Callable[[str], str]) -> OpenIdUser:
        """Return the user of a callback. `query` returns a parameter of its address, or "". OpenIdError."""
        if not 0 <= self._clock() - pending.begun_at <= limits.openid_sign_in_s * 1000:
            raise OpenIdError("The sign-in took too long")
        if not hmac.compare_digest(query("state").encode(), pending.state.encode()):
            raise OpenIdError("The answer of the provider does not belong to this sign-in")
        # RFC 9207: the answer is from the provider that was asked.
        if query("iss") not in ("", self.settings.issuer):
            raise OpenIdError("The answer is from another provider")
        if query("error"):
            raise OpenIdError(f"The provider refused the sign-in: {query('error')[:100]}")
        if not query("code"):
            raise OpenIdError("The answer of the provider has no code")
        if self._slots.locked():
            raise OpenIdError("Too many users are signing in at this moment", unavailable=True)
        async with self._slots:
            provider, verifier = await self._discover()
            tokens = await self._exchange(provider, query("code"), pending.verifier)
            claims, subject = await self._id_claims(verifier, tokens.id_token, pending.nonce)
            if provider.userinfo_endpoint is not None and tokens.access_token is not None:
                claims = (
                    await self._userinfo(provider.userinfo_endpoint, tokens.access_token, subject) | claims
                )
        return self._user(claims)

    async def _discover(self) -> tuple[_Provider, TokenVerifier]:
        async with self._discovery:
            fresh = 0 <= self._clock() - self._read_at < limits.openid_discovery_s * 1000
            if self._provider is None or not fresh:
                try:
                    self._use(await self._fetch("GET", self._discovery_address(), _Provider))
                    self._read_at = self._clock()
                except OpenIdError as error:
                    if self._provider is None:
                        raise
                    _log.warning(
                        "the OpenID provider's configuration could not be read again", reason=str(error)
                    )
            assert self._provider is not None
            assert self._verifier is not None
            return self._provider, self._verifier

    def _discovery_address(self) -> str:
        return f"{self.settings.issuer.rstrip('/')}/.well-known/openid-configuration"

    def _use(self, provider: _Provider) -> None:
        if provider.issuer != self.settings.issuer:
            raise _unusable(f"its issuer is {provider.issuer[:200]}, not {self.settings.issuer}")
        scheme = urlsplit(provider.issuer).scheme
        for address in (provider.authorization_endpoint, provider.token_endpoint, provider.jwks_uri):
            if urlsplit(address).scheme not in {"https", scheme}:
                raise _unusable(f"{address[:200]} is not an https address")
        if _CHALLENGE_METHOD not in provider.code_challenge_methods_supported:
            raise _unusable(f"it does not support PKCE with {_CHALLENGE_METHOD}")
        if self._provider is None or provider.jwks_uri != self._provider.jwks_uri:
            self._verifier = TokenVerifier(
                jwks_url=provider.jwks_uri, clock=self._clock, transport=self._transport
            )
        self._provider = provider

    async def _exchange(self, provider: _Provider, code: str, verifier: str) -> _Tokens:
        """Redeem the code, which the provider accepts only once."""
        settings = self.settings
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": settings.redirect_uri,
            "code_verifier": verifier,
        }
        headers = {}
        if settings.client_secret is None:
            form["client_id"] = settings.client_id
        elif "client_secret_basic" in provider.token_endpoint_auth_methods_supported:
            # RFC 6749, 2.3.1: both are form-encoded first.
            pair = f"{quote_plus(settings.client_id)}:{quote_plus(settings.client_secret)}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        else:
            form |= {"client_id": settings.client_id, "client_secret": settings.client_secret}
        return await self._fetch("POST", provider.token_endpoint, _Tokens, headers=headers, form=form)

    async def _id_claims(self, verifier: TokenVerifier, token: str, nonce: str) -> tuple[dict[str, Any], str]:
        """Return all claims of a valid ID token, and its subject (OpenID Connect Core 1.0, section 3.1.3.7)."""
        try:
            payload = await verifier.payload(token)
        except Error as error:
            raise OpenIdError(f"The ID token is not valid: {error.message}") from None
        try:
            claims: dict[str, Any] = msgspec.json.decode(payload, type=dict[str, Any])
            checked = msgspec.convert(claims, _IdToken)
        except (ValueError, RecursionError):
            raise OpenIdError("The ID token is malformed") from None
        client, now = self.settings.client_id, self._clock()
        audiences = [checked.aud] if isinstance(checked.aud, str) else checked.aud
        if checked.iss != self.settings.issuer:
            raise OpenIdError("The ID token is from another issuer")
        if client not in audiences or checked.azp not in (None, client):
            raise OpenIdError("The ID token is for another client")
        if len(audiences) > 1 and checked.azp is None:
            raise OpenIdError("The ID token has several audiences and does not name its client")
        if checked.exp * 1000 <= now or checked.iat * 1000 > now + skew_ms_max:
            raise OpenIdError("The ID token has expired, or is not valid yet: compare the clocks")
        if checked.nonce is None or not hmac.compare_digest(checked.nonce.encode(), nonce.encode()):
            raise OpenIdError("The ID token does not belong to this sign-in: its nonce is another one")
        return claims, checked.sub

    async def _userinfo(self, address: str, access_token: str, subject: str) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {access_token}"}
        claims: dict[str, Any] = await self._fetch("GET", address, dict[str, Any], headers=headers)
        if claims.get("sub") != subject:
            raise OpenIdError("The provider described another user")
        return claims

    def _user(self, claims: Mapping[str, Any]) -> OpenIdUser:
        settings = self.settings
        mail = claims.get("email") if claims.get("email_verified") is True else None
        user_id = claims["sub"] if settings.user_claim == "sub" else mail
        if user_id is None:
            raise OpenIdError("The provider has not verified your mail address, which identifies users here")
        try:
            user_id = msgspec.convert(user_id, _Name)
        except msgspec.ValidationError:
            raise OpenIdError(f"The claim {settings.user_claim} is no valid user id") from None
        name = next((value for value in (mail, claims.get("name")) if isinstance(value, str)), None)
        groups = claims.get(settings.groups_claim)
        known = frozenset([groups] if isinstance(groups, str) else _texts(groups))
        named = dict.fromkeys(each.group for each in settings.roles if each.group in known)
        return OpenIdUser(user_id, name and name[: limits.name_chars_max], tuple(named))

    async def _fetch(
        self,
        method: str,
        address: str,
        of: type[T],
        *,
        headers: Mapping[str, str] | None = None,
        form: Mapping[str, str] | None = None,
    ) -> T:
        """Send a request to the provider, without redirects and within bounds. OpenIdError."""
        sent = {"Accept": "application/json", "Accept-Encoding": "identity", **(headers or {})}
        body = bytearray()
        try:
            async with (
                asyncio.timeout(limits.openid_request_s_max),
                httpx2.AsyncClient(transport=self._transport, follow_redirects=False) as client,
                client.stream(method, address, headers=sent, data=form) as response,
            ):
                if "content-encoding" in response.headers:  # a few bytes could expand to megabytes
                    raise _unusable("its answer is compressed")
                async for chunk in response.aiter_bytes():
                    body += chunk
                    if len(body) > limits.openid_answer_bytes_max:
                        raise _unusable("its answer is too large")
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:  # OSError: also a timeout
            _log.warning("the OpenID provider cannot be reached", error=repr(error))
            raise OpenIdError(f"{self.settings.name} cannot be reached", unavailable=True) from None
        if response.status_code != 200:
            _log.warning("the OpenID provider refused a request", status=response.status_code, method=method)
            if method == "POST" and 400 <= response.status_code < 500:
                raise OpenIdError("The provider did not accept the code: it was used before, or is too old")
            raise _unusable(f"it answered {response.status_code}")
        try:
            return msgspec.json.decode(bytes(body), type=of)
        except (ValueError, RecursionError):
            raise _unusable("its answer is malformed") from None


def _random() -> str:
    return secrets.token_urlsafe(32)


def _unusable(reason: str) -> OpenIdError:
    _log.warning("the OpenID provider cannot be used", reason=reason)
    return OpenIdError(f"The provider cannot be used: {reason}", unavailable=True)


def _texts(value: object) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []
