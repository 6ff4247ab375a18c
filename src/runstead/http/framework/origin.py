"""Where a request came from: the address of its caller, and its request id."""

import ipaddress
import os
import re
from collections.abc import Iterable, Iterator
from itertools import count
from typing import Final

from starlette.types import Scope as AsgiScope

from runstead.core.identity.principal import Origin

_SENT: Final = re.compile(rb"[A-Za-z0-9._-]{1,128}")
#: New ids, which are unique, not secret: 64 random bits of the process, and the number of the request.
_IDS: Final = map((os.urandom(8).hex() + "-{}").format, count(1))

#: The member of an ASGI scope that holds the request's Origin.
SCOPE_KEY: Final = "runstead.origin"


def request_id(sent: bytes | None) -> str:
    """Return the `X-Request-Id` that the caller sent if it is valid, else a new id."""
    if sent is not None and _SENT.fullmatch(sent):
        return sent.decode("ascii")
    return next(_IDS)


def origin_of(scope: AsgiScope) -> Origin:
    """Return the origin that `protocol.py` found. Under another ASGI server it is created here."""
    origin: Origin | None = scope.get(SCOPE_KEY)
    if origin is None:
        client, sent = scope.get("client"), dict(scope["headers"]).get(b"x-request-id")
        origin = scope[SCOPE_KEY] = Origin(client[0] if client else None, request_id(sent))
    return origin


class TrustedProxies:
    """The reverse proxies whose `X-Forwarded-For` is trusted. The header of other peers is ignored."""

    def __init__(self, networks: Iterable[str] = ()) -> None:
        """`networks`: addresses such as `127.0.0.1`, and networks such as `10.0.0.0/8`. ValueError."""
        self._networks = tuple(ipaddress.ip_network(network) for network in networks)

    def trust(self, host: str | None) -> bool:
        """Return whether the address is that of a trusted proxy."""
        if not self._networks or host is None:
            return False
        address = _address(host)
        return address is not None and any(address in network for network in self._networks)

    def caller(self, peer: str | None, headers: Iterable[tuple[bytes, bytes]]) -> str | None:
        """Return the caller's address behind a trusted peer: the last address that is not a trusted proxy.

        The caller may have invented the addresses before it. A malformed address ends the search.
        """
        caller = peer
        for hop in _forwarded(headers):
            address = _address(hop)
            if address is None:
                break
            caller = str(address)
            if not self.trust(caller):
                break
        return caller


def _forwarded(headers: Iterable[tuple[bytes, bytes]]) -> Iterator[str]:
    """Yield the addresses of X-Forwarded-For, the nearest first."""
    values = [value.decode("latin-1") for name, value in headers if name == b"x-forwarded-for"]
    yield from reversed(",".join(values).split(","))


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Parse an address as proxies write it: some append a port, or put brackets around IPv6."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
