"""Idempotency keys: the answer to a key is stored in the transaction of its effect."""

from collections.abc import Callable
from typing import Any, NoReturn, TypeAlias

import msgspec

from runstead.core.errors import Error


class IdempotencyRecord(msgspec.Struct, frozen=True):
    """An idempotency key and the request that uses it.

    `owner` names the caller. `digest` is a SHA-256 over method, path and body. `render` builds the answer
    (status, body) from the result of the store method, or returns None if the answer need not be stored. An
    engine looks up the key first, and stores the answer with the effect.
    """

    owner: str
    key: str
    digest: bytes
    render: Callable[[Any], tuple[int, bytes] | None]

    def replay(self, digest: bytes, status: int, body: bytes) -> NoReturn:
        """Raise the stored answer of the key, or IDEMPOTENCY_KEY_REUSED. `digest`: of the request that stored it."""
        if digest != self.digest:
            raise Error(
                "IDEMPOTENCY_KEY_REUSED",
                "This Idempotency-Key was used for another request; take a new key for a new request",
            )
        raise ReplayedResponse(status, body)


Idempotency: TypeAlias = IdempotencyRecord | None
"""None: the request has no idempotency key."""


class ReplayedResponse(Exception):  # noqa: N818 - it carries an answer and is not an error
    """The stored answer of an earlier request with the same key.

    Engines raise it, the HTTP layer sends it.
    """

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(status)
        self.status = status
        self.body = body
