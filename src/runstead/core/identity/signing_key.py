"""The server's signing keys as they are stored."""

from typing import Literal

import msgspec

Algorithm = Literal["EdDSA", "RS256"]


class SigningKey(msgspec.Struct, frozen=True):
    """A private key: `pem` is PKCS #8, `kid` the RFC 7638 thumbprint of its public half. `created_at` in ms.
    In a row, `pem` is encrypted by `security.stored_secrets`.

    EdDSA keys (Ed25519) sign the calls of the control plane, RS256 keys tokens.
    """

    kid: str
    algorithm: Algorithm
    pem: str
    created_at: int
