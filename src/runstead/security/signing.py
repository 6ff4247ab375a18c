"""The server's signatures: tokens for push services (RS256), and its own requests to them (EdDSA); contract A7."""

import asyncio
import base64
import hashlib
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import jwt
import msgspec
import structlog
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from msgspec.structs import replace

from runstead.core import limits
from runstead.core.clock import now_ms
from runstead.core.errors import Error, UnknownCredentialError
from runstead.core.identity.issuer import Issuer
from runstead.core.identity.signing_key import SigningKey
from runstead.core.secret import SIGNING_KEY
from runstead.ports.store import SigningKeys
from runstead.security.stored_secrets import StoredSecrets

RUN_EVENT_WRITER: Final = "run_event_writer"
RUN_SERVICE: Final = "run_service"
RUN_READER: Final = "run_reader"
CONVERSATION_READER: Final = "conversation_reader"
APPEND: Final = "agent-runs:events:append"
ISSUER: Final = "veryfront-api"  # published services require this issuer
SURFACE: Final = "studio"

log = structlog.get_logger(__name__)

_PEM: Final = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.+?-----END [A-Z ]*PRIVATE KEY-----", re.DOTALL)
_Private = ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey


def unpadded(data: bytes) -> str:
    """Encode as base64url without padding (JOSE, RFC 7515, section 2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _number(value: int) -> str:
    return unpadded(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def _public_jwk(private: _Private) -> dict[str, str]:
    if isinstance(private, ed25519.Ed25519PrivateKey):
        raw = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return {"crv": "Ed25519", "kty": "OKP", "x": unpadded(raw)}
    numbers = private.public_key().public_numbers()
    return {"e": _number(numbers.e), "kty": "RSA", "n": _number(numbers.n)}


def _thumbprint(private: _Private) -> str:
    """Compute the thumbprint of RFC 7638: the SHA-256 of the required members in lexical order."""
    return unpadded(hashlib.sha256(msgspec.json.encode(_public_jwk(private), order="sorted")).digest())


def _to_signing_key(private: _Private, created_at: int) -> SigningKey:
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    algorithm: Any = "EdDSA" if isinstance(private, ed25519.Ed25519PrivateKey) else "RS256"
    return SigningKey(_thumbprint(private), algorithm, pem, created_at)


def new_pair(created_at: int) -> list[SigningKey]:
    """Generate a pair of keys: one for requests (EdDSA), one for tokens (RS256)."""
    return [
        _to_signing_key(ed25519.Ed25519PrivateKey.generate(), created_at),
        _to_signing_key(rsa.generate_private_key(public_exponent=65_537, key_size=2_048), created_at),
    ]


def read_file(path: Path) -> list[SigningKey]:
    """Read the keys of a PEM file, oldest first. ValueError with a message for the operator."""
    try:
        text = path.read_text()
    except (OSError, ValueError):
        raise ValueError(f"RUNSTEAD_SIGNING_KEY_FILE: {path} cannot be read") from None
    keys: list[SigningKey] = []
    for place, block in enumerate(_PEM.findall(text)):
        try:
            private = load_pem_private_key(block.encode(), None)
        except (ValueError, TypeError):
            raise ValueError(f"{path} holds a private key that cannot be read") from None
        if not isinstance(private, ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey):
            raise ValueError(f"{path} holds a key that is neither Ed25519 nor RSA")  # noqa: TRY004
        keys.append(_to_signing_key(private, place))
    if {key.algorithm for key in keys} != {"EdDSA", "RS256"}:
        raise ValueError(f"{path} must hold an Ed25519 and an RSA private key: make it with `keys signing`")
    return keys


def write_file(path: Path) -> None:
    """Append a new pair to the file, readable by its owner only (mode 0600). The newest keys sign."""
    if path.exists():
        read_file(path)
    added = "".join(key.pem for key in new_pair(0))
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "a") as file:
        file.write(added)
        file.flush()
        os.fsync(file.fileno())
    path.chmod(0o600)


class _Pair:
    """All keys, and the newest key of each algorithm, loaded for use."""

    def __init__(self, keys: Sequence[SigningKey]) -> None:
        self.private: dict[str, Any] = {}
        self.newest: dict[str, SigningKey] = {}
        for key in keys:
            self.private[key.kid] = load_pem_private_key(key.pem.encode(), None)
            self.newest[key.algorithm] = key
        self.keys = tuple(keys)

    def sign(self, algorithm: str, claims: dict[str, Any]) -> str:
        key = self.newest[algorithm]
        return jwt.encode(claims, self.private[key.kid], algorithm, {"kid": key.kid})


class Keyring:
    """The server's signing keys: those of the file, or those of the store, where they are created at the
    first use.

    They are reloaded every `limits.signing_keys_reload_s`, so that every replica gets new keys. Keys of the store
    that cannot be decrypted are left out.
    """

    def __init__(
        self,
        store: SigningKeys,
        file: Path | None = None,
        clock: Callable[[], int] = now_ms,
        secrets: StoredSecrets | None = None,
    ) -> None:
        self._store, self._file, self._clock = store, file, clock
        self._secrets = secrets or StoredSecrets()
        self._pair: _Pair | None = None
        self._read_at = float("-inf")

    async def _load(self, *, make: bool, kid: str | None = None) -> _Pair | None:
        now = time.monotonic()
        age_max = limits.signing_keys_reload_s if kid is None or self._knows(kid) else 1.0
        if (self._pair is None and make) or now - self._read_at >= age_max:
            keys = await self._read()
            if not keys and make:
                keys = self._decrypted(await self._store.add(await self._new(), only_first=True))
            if keys and (self._pair is None or tuple(keys) != self._pair.keys):
                self._pair = _Pair(keys)
            self._read_at = now
        return self._pair

    def _knows(self, kid: str) -> bool:
        return self._pair is not None and kid in self._pair.private

    async def _read(self) -> list[SigningKey]:
        if self._file is None:
            return self._decrypted(await self._store.all())
        try:
            return read_file(self._file)
        except ValueError as trouble:
            if self._pair is None:
                raise
            log.warning("the signing keys could not be reloaded", reason=str(trouble))
            return list(self._pair.keys)

    async def _current_pair(self) -> _Pair:
        pair = await self._load(make=True)
        assert pair is not None
        return pair

    async def _new(self) -> list[SigningKey]:
        """Generate a pair as the store may hold it."""
        pair = await asyncio.to_thread(new_pair, self._clock())  # generating an RSA key is slow
        return [replace(key, pem=self._secrets.encrypt(SIGNING_KEY, key.kid, key.pem)) for key in pair]

    def _decrypted(self, stored: Sequence[SigningKey]) -> list[SigningKey]:
        """Return the keys that can be decrypted. ENCRYPTION_KEY_MISSING if one of them is needed for signing."""
        keys, refusal = [], None
        for key in stored:
            try:
                keys.append(replace(key, pem=self._secrets.decrypt(SIGNING_KEY, key.kid, key.pem)))
            except Error as error:
                refusal = error
        if refusal is not None and {key.algorithm for key in keys} != {key.algorithm for key in stored}:
            raise refusal
        return keys

    async def rotate(self) -> None:
        """Add a new pair to the store. It signs from now on; signatures of old keys stay valid."""
        await self._store.add(await self._new(), only_first=False)
        self._pair = None

    async def run_event_token(
        self, *, user_id: str, service_id: str, issuer: str, project_id: str, run_id: str
    ) -> str:
        """Return a token to append events to one run, and to get the same kind of token for its children.

        It is valid while its `issuer` (`str(Issuer)`) may write the project.
        """
        ids = (user_id, service_id, issuer, project_id, {"runId": run_id})
        return await self._run_token(*ids, RUN_EVENT_WRITER, [APPEND])

    async def service_token(
        self, *, user_id: str, service_id: str, issuer: str, project_id: str, run_id: str
    ) -> str:
        """Return a token to work on one run and its descendants."""
        ids = (user_id, service_id, issuer, project_id, {"runId": run_id})
        return await self._run_token(*ids, RUN_SERVICE, ["runs:read", "runs:write"])

    async def access_token(
        self, *, user_id: str, issuer: str, project_id: str, run_id: str, valid_s: int, family: bool
    ) -> tuple[str, int]:
        """Return a token to read one run, and with `family` its descendants; and when it expires (ms)."""
        expires_at_s = self._clock() // 1000 + valid_s
        ids = (user_id, user_id, issuer, project_id, {"runId": run_id})
        token = await self._run_token(*ids, RUN_READER, ["runs:read"], expires_at_s, family=family)
        return token, expires_at_s * 1000

    async def conversation_token(
        self, *, user_id: str, issuer: str, project_id: str, conversation_id: str, valid_s: int
    ) -> tuple[str, int]:
        """Return a token to read one conversation and its runs; and when it expires (ms)."""
        expires_at_s = self._clock() // 1000 + valid_s
        ids = (user_id, user_id, issuer, project_id, {"conversationId": conversation_id})
        return await self._run_token(
            *ids, CONVERSATION_READER, ["runs:read"], expires_at_s
        ), expires_at_s * 1000

    async def _run_token(
        self,
        user_id: str,
        service_id: str,
        issuer: str,
        project_id: str,
        subject: Mapping[str, str],
        use: str,
        scopes: list[str],
        expires_at_s: int | None = None,
        *,
        family: bool = False,
    ) -> str:
        now = self._clock() // 1000
        claims = {
            "userId": user_id,
            "serviceAccountId": service_id,
            "actorType": "service_account",
            "tokenUse": use,
            "projectId": project_id,
            **subject,
            "scopes": scopes,
            "iat": now,
            "exp": now + limits.run_token_s if expires_at_s is None else expires_at_s,
        }
        if family:
            claims["family"] = True
        # Without the claim the push service is the issuer. Published services then see the claims that they know.
        if issuer != str(Issuer("push_service", service_id)):
            claims["issuer"] = issuer
        return (await self._current_pair()).sign("RS256", claims)

    async def signature(
        self, *, method: str, path: str, body: bytes, audience: str, project_id: str, run_id: str
    ) -> str:
        """Return the header value of `x-veryfront-control-plane-jws` for one request.

        `audience` is the project's slug.
        """
        now = self._clock() // 1000
        claims = {
            "iss": ISSUER,
            "aud": audience,
            "sub": run_id,
            "project_id": project_id,
            "surface": SURFACE,
            "request_hash": unpadded(hashlib.sha256(body).digest()),
            "request_method": method,
            "request_path": path,
            "iat": now,
            "exp": now + limits.signature_s,
        }
        return (await self._current_pair()).sign("EdDSA", claims)

    async def verify(self, token: str, kid: str) -> dict[str, Any] | None:
        """Return the claims of a token that was signed with the server's key `kid`; the times are not
        checked.

        None if the server has no such key. UNAUTHENTICATED if the signature is wrong.
        """
        pair = await self._load(make=False, kid=kid)
        private = None if pair is None else pair.private.get(kid)
        if not isinstance(private, rsa.RSAPrivateKey):
            return None
        unchecked: Any = {"verify_exp": False, "verify_nbf": False, "verify_iat": False, "verify_aud": False}
        try:
            claims: dict[str, Any] = jwt.decode(token, private.public_key(), ["RS256"], options=unchecked)
        except jwt.PyJWTError:
            raise UnknownCredentialError("UNAUTHENTICATED", "The token's signature is not valid") from None
        return claims

    async def jwks(self) -> list[dict[str, str]]:
        """Return the public keys as a JWK set (RFC 7517), newest last."""
        pair = await self._current_pair()
        return [
            {**_public_jwk(pair.private[key.kid]), "kid": key.kid, "alg": key.algorithm, "use": "sig"}
            for key in pair.keys
        ]

    async def public_pems(self) -> dict[str, str]:
        """Return algorithm → newest public key as PEM (SPKI), for the configuration of services."""
        pair = await self._current_pair()
        return {
            algorithm: pair.private[key.kid]
            .public_key()
            .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
            .decode()
            for algorithm, key in pair.newest.items()
        }
