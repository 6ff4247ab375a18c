"""Keys and signed tokens for tests."""

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from runstead.core.errors import Error

NOW = 1_774_008_000_000
RSA = rsa.generate_private_key(65_537, 2_048)
OTHER_RSA = rsa.generate_private_key(65_537, 2_048)
ED = ed25519.Ed25519PrivateKey.generate()
URL = "https://id.example/jwks"


def pem(key):
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def claims(**changes):
    base = {"sub": "ada", "exp": NOW // 1000 + 600}
    return {name: value for name, value in {**base, **changes}.items() if value is not ...}


def token(key=RSA, headers=None, **changes):
    return jwt.encode(claims(**changes), key, "EdDSA" if key is ED else "RS256", headers=headers)


async def refusal(verifier, text):
    with pytest.raises(Error) as caught:
        await verifier.verify(text)
    assert caught.value.code == "UNAUTHENTICATED"
    assert text not in caught.value.message
    return caught.value.message
