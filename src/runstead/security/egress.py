"""Requests to addresses that callers chose, guarded against server-side request forgery (SSRF).

Only http and https, without redirects or proxies, bounded in time and in the size of the answer. This module
resolves the host name, checks every address, and connects only to a checked address.
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable
from functools import cache
from typing import Any, Final, Literal, NamedTuple

import httpcore2
import httpx2
from httpcore2 import AsyncNetworkBackend, AsyncNetworkStream

from runstead.core.errors import invalid_at

connections_max: Final = 256
idle_connections_max: Final = 32
idle_s_max: Final = 15.0
connect_s_max: Final = 10.0

_IPV4_REFUSED: Final = tuple(
    map(
        ipaddress.IPv4Network,
        (
            "0.0.0.0/8",  # this network
            "10.0.0.0/8",  # private
            "100.64.0.0/10",  # shared by a provider; also metadata of clouds
            "127.0.0.0/8",  # loopback
            "168.63.129.16/32",  # Azure's host of each virtual machine, which IANA does not list
            "169.254.0.0/16",  # link-local, with the metadata of clouds
            "172.16.0.0/12",  # private
            "192.0.0.0/24",  # IETF protocol assignments
            "192.0.2.0/24",  # documentation
            "192.88.99.0/24",  # relays of 6to4
            "192.168.0.0/16",  # private
            "198.18.0.0/15",  # benchmarking
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",  # documentation
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, and broadcast
        ),
    )
)
"""IANA IPv4 Special-Purpose Address Registry, written out: `ipaddress` answers differently in each version of Python."""

_IPV6_UNICAST: Final = ipaddress.IPv6Network("2000::/3")
"""All that IANA has allocated. Private, link-local and multicast addresses are outside."""

_IPV6_REFUSED: Final = tuple(
    map(
        ipaddress.IPv6Network,
        (
            "2001::/23",  # IETF protocol assignments, with Teredo (2001::/32) and benchmarking
            "2001:db8::/32",  # documentation
            "3fff::/20",  # documentation
        ),
    )
)
"""IANA IPv6 Special-Purpose Address Registry, as far as it is within 2000::/3."""

_EMBEDDING: Final = (
    (ipaddress.IPv6Network("::ffff:0:0/96"), 0),  # IPv4-mapped (RFC 4291)
    (ipaddress.IPv6Network("64:ff9b::/96"), 0),  # NAT64 (RFC 6052)
    (ipaddress.IPv6Network("2002::/16"), 80),  # 6to4 (RFC 3056)
)
"""Networks whose addresses hold an IPv4 address, and how many bits follow it."""

_PRIVATE: Final = "set RUNSTEAD_ALLOW_PRIVATE_EGRESS to allow private addresses"

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""(host, port) → all addresses of the host, as literals."""


class EgressError(Exception):
    """The request failed.

    The message can be shown to callers: it has no credential and no part of the answer.
    """


class RefusedAddressError(EgressError):
    """The address is not allowed."""


class Answer(NamedTuple):
    """The answer to a request. `headers` by lower-case name; `body` is at most `answer_bytes_max` long."""

    status: int
    headers: dict[str, str]
    body: bytes


def check_url(url: str, *, allow_private: bool) -> httpx2.URL:
    """Parse the URL. RefusedAddressError if it is refused without a DNS look-up: a wrong scheme, user info, a
    fragment, no host, or an address that is not public.
    """
    try:
        parsed = httpx2.URL(url)
    except (httpx2.InvalidURL, ValueError, UnicodeError):
        raise RefusedAddressError("The URL is malformed") from None
    if parsed.scheme not in ("http", "https"):
        raise RefusedAddressError("The URL must begin with http:// or https://")
    if not parsed.host:
        raise RefusedAddressError("The URL names no host")
    if parsed.userinfo:
        raise RefusedAddressError("The URL must carry no user name and no password")
    if parsed.fragment:
        raise RefusedAddressError("The URL must have no fragment (#…)")
    host = parsed.host.rstrip(".").lower()
    local = host == "localhost" or host.endswith(".localhost")
    if not allow_private and (local or _forbidden_literal(host)):
        raise RefusedAddressError(f"The address {parsed.host} is not public: {_PRIVATE}")
    return parsed


def _forbidden_literal(host: str) -> bool:
    try:
        return not is_public(ipaddress.ip_address(host.partition("%")[0]))
    except ValueError:
        pass
    try:  # resolvers also accept these forms of an address: 127.1, 2130706433, 0x7f.1
        return not is_public(ipaddress.IPv4Address(socket.inet_aton(host)))
    except (OSError, ValueError):
        return False


def is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether the address is public: not private, loopback, link-local, multicast, reserved or unspecified.
    An IPv4 address inside an IPv6 address is checked too.
    """
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _IPV4_REFUSED)
    for network, bits in _EMBEDDING:
        if address in network:
            return is_public(ipaddress.IPv4Address(int(address) >> bits & 0xFFFF_FFFF))
    return address in _IPV6_UNICAST and not any(address in network for network in _IPV6_REFUSED)


async def resolve(host: str, port: int) -> list[str]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class _Guard(AsyncNetworkBackend):
    """Connects only to checked addresses."""

    def __init__(self, look_up: Resolve, *, allow_private: bool) -> None:
        self._look_up, self._allow_private = look_up, allow_private
        self._backend = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the backend's signature
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> AsyncNetworkStream:
        try:
            addresses = await self._look_up(host, port)
        except (OSError, UnicodeError):
            raise httpcore2.ConnectError("the name has no address") from None
        if not self._allow_private:
            # One private address refuses the name, so that the owner of the name cannot mix public and
            # private ones.
            for literal in addresses:
                if not is_public(ipaddress.ip_address(literal.partition("%")[0])):
                    raise RefusedAddressError(f"{host} has an address that is not public: {_PRIVATE}")
        trouble: Exception = httpcore2.ConnectError("the name has no address")
        for literal in addresses:
            try:
                return await self._backend.connect_tcp(literal, port, timeout, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                trouble = error
        raise trouble

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


@cache
def _tls() -> ssl.SSLContext:
    return httpx2.create_ssl_context(trust_env=True)


class Egress:
    """Sends guarded requests. `resolve` can be replaced in tests."""

    def __init__(self, *, allow_private: bool = False, resolve: Resolve = resolve) -> None:
        self.allow_private = allow_private
        self._resolve = resolve
        self._pool: httpcore2.AsyncConnectionPool | None = None

    def with_own_connections(self) -> "Egress":
        """Return another `Egress` with the same rules and its own connection pool."""
        return Egress(allow_private=self.allow_private, resolve=self._resolve)

    def check(self, url: str) -> httpx2.URL:
        """See `check_url`."""
        return check_url(url, allow_private=self.allow_private)

    def check_member(self, name: str, url: str) -> None:
        """As `check`, for a member of a body. Raises INVALID_REQUEST."""
        try:
            self.check(url)
        except RefusedAddressError as refusal:
            raise invalid_at(f"$.{name}", str(refusal), f"{name}: {refusal}") from None

    async def send(
        self,
        method: Literal["GET", "POST", "DELETE"],
        url: str,
        *,
        headers: dict[str, str],
        body: bytes = b"",
        total_s: float,
        answer_bytes_max: int,
        cut: bool = False,
    ) -> Answer:
        """Send one request, within `total_s` from the DNS look-up to the last byte. EgressError with the
        reason if it fails.

        A redirect is returned and not followed. With `cut`, an answer that is too long is cut instead of
        refused.
        """
        target = self.check(url)
        if self._pool is None:
            self._pool = httpcore2.AsyncConnectionPool(
                ssl_context=_tls(),
                max_connections=connections_max,
                max_keepalive_connections=idle_connections_max,
                keepalive_expiry=idle_s_max,
                network_backend=_Guard(self._resolve, allow_private=self.allow_private),
            )
        sent = {
            "host": target.netloc.decode("ascii"),
            "accept": "application/json",
            "accept-encoding": "identity",
        }
        sent |= headers | {"content-length": str(len(body))}
        where = httpcore2.URL(
            scheme=target.raw_scheme, host=target.raw_host, port=target.port, target=target.raw_path
        )
        limits = {"connect": connect_s_max, "read": total_s, "write": total_s, "pool": total_s}
        request = self._pool.stream(
            method,
            where,
            headers=[(name.encode("ascii"), value.encode("ascii")) for name, value in sent.items()],
            content=body,
            extensions={"timeout": limits},
        )
        try:
            async with asyncio.timeout(total_s), request as response:
                content = bytearray()
                async for chunk in response.aiter_stream():
                    content += chunk
                    if len(content) > answer_bytes_max:
                        if cut:
                            del content[answer_bytes_max:]
                            break
                        raise EgressError(f"the answer is larger than {answer_bytes_max} bytes")
                answer_headers = {
                    name.decode("latin-1").lower(): value.decode("latin-1")
                    for name, value in response.headers
                }
                return Answer(response.status, answer_headers, bytes(content))
        except (TimeoutError, httpcore2.TimeoutException):
            raise EgressError(f"there was no complete answer within {total_s:g} s") from None
        except httpcore2.ConnectError:
            raise EgressError("no connection could be made") from None
        except (httpcore2.NetworkError, httpcore2.ProtocolError, ssl.SSLError, OSError):
            raise EgressError("the connection broke, or the answer was not HTTP") from None

    async def close(self) -> None:
        if self._pool is not None:
            await self._pool.aclose()
            self._pool = None
