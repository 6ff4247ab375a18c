"""Idempotency is stored, not computed: the answer to a key is written in the transaction of its effect."""

from collections.abc import Callable
from typing import Any

import msgspec


class IdempotencyRecord(msgspec.Struct, frozen=True):
    """An idempotency key with the request it came with.

    `owner` names the caller, `digest` is a SHA-256 over method, path and body, and `render` makes the answer
    (status, body) from what the store method returns, or None where that is not worth remembering. An engine looks
    the key up first, and stores the answer with the effect.
    """

    owner: str
    key: str
    digest: bytes
    render: Callable[[Any], tuple[int, bytes] | None]


class ReplayedResponse(Exception):  # noqa: N818 - no error: the answer is already there
    """The request was answered before: here is that answer. Raised by an engine, caught where requests end."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(status)
        self.status = status
        self.body = body
