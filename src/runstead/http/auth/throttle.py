"""Limits how often an address may send credentials that this server does not know, so that none can be guessed."""

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import structlog

from runstead.core import limits
from runstead.core.errors import Error, UnknownCredentialError
from runstead.core.token_buckets import TokenBuckets
from runstead.http.framework.connections import network
from runstead.ports import metrics

log = structlog.get_logger(__name__)

Kind = Literal["api_key", "worker_token", "token", "trigger"]


class FailureThrottle:
    """A token bucket for each address; addresses of one IPv6 /64 share one. An unknown credential takes a token.

    While an address has no token, its credentials are not looked up. A credential that this process has accepted
    before is always looked up, so that valid callers behind the same address are not refused. Concurrent requests may
    take more tokens than the bucket has, at most as many again; the address then waits until they are refilled.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` in seconds."""
        self._buckets = TokenBuckets(limits.throttled_addresses_max, clock)
        self._known: OrderedDict[bytes, None] = OrderedDict()  # SHA-256 of valid credentials, oldest first

    @contextmanager
    def look_up(self, kind: Kind, digest: bytes, address: str | None) -> Iterator[None]:
        """Look a credential up in the body. `digest` is its SHA-256. Without an address, nothing is throttled.

        Raises AUTHENTICATION_THROTTLED. An UnknownCredentialError of the body takes a token.
        """
        if address is not None and digest not in self._known:
            self._admit(kind, address)
        try:
            yield
        except UnknownCredentialError:
            metrics.authentication_failures.labels(kind, "unknown").inc()
            throttled = False
            if digest in self._known:  # deleted since, and therefore no guess
                del self._known[digest]
            elif address is not None:
                throttled = self._take(address) < 1
            log.warning(
                "an unknown credential was refused", credential=kind, address=address, throttled=throttled
            )
            raise
        except Error as error:
            if error.code == "UNAUTHENTICATED":
                metrics.authentication_failures.labels(kind, "ended").inc()
            raise
        self._known[digest] = None
        self._known.move_to_end(digest)
        if len(self._known) > limits.known_credentials_max:
            self._known.popitem(last=False)

    def _admit(self, kind: Kind, address: str) -> None:
        tokens = self._tokens(network(address))
        if tokens < 1:
            metrics.authentication_failures.labels(kind, "throttled").inc()
            raise Error(
                "AUTHENTICATION_THROTTLED",
                "This address sent too many unknown credentials: retry later, with a valid credential",
                retry_after_s=math.ceil((1 - tokens) / limits.authentication_failures_per_s),
            )

    def _tokens(self, name: str) -> float:
        most, per_s = limits.authentication_failures_max, limits.authentication_failures_per_s
        return self._buckets.tokens(name, most, per_s)

    def _take(self, address: str) -> float:
        """Take a token. Returns how many are left."""
        name = network(address)
        left = max(self._tokens(name) - 1, -float(limits.authentication_failures_max))
        self._buckets.set(name, left)
        return left
