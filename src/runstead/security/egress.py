"""Calls to addresses that callers chose: guarded, so that nobody makes the server reach into its own network.

http and https alone, no redirects, no proxies, bounded in time and in the size of the answer. A name is resolved here,
every address it has is checked, and the connection goes to exactly an address that was checked.
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

connections_max: Final = 256
idle_connections_max: Final = 32
idle_s_max: Final = 15.0
connect_s_max: Final = 10.0

_SIX_TO_FOUR: Final = ipaddress.IPv6Network("2002::/16")
_PRIVATE: Final = "set RUNSTEAD_ALLOW_PRIVATE_EGRESS where such addresses are yours to call"

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""(host, port) → every address that the host has, as literals."""


class EgressError(Exception):
    """The call came to nothing. The sentence may be shown: it holds no credential and nothing of the answer."""


class RefusedAddressError(EgressError):
    """The address is not one that may be called."""


class Answer(NamedTuple):
    """`headers` by lower-case name; `body` is whole, within the limit that was asked for."""

    status: int
    headers: dict[str, str]
    body: bytes


def check_url(url: str, *, allow_private: bool) -> httpx2.URL:
    """The URL in parts. RefusedAddressError, with a sentence, where it can be told without a look-up that no call to it
    would be made: scheme, user-info, no host, or an address that is not public.
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
        raise RefusedAddressError(f"The address {parsed.host} is not a public one: {_PRIVATE}")
    return parsed


def _forbidden_literal(host: str) -> bool:
    try:
        return not is_public(ipaddress.ip_address(host.partition("%")[0]))
    except ValueError:
        pass
    try:  # what resolvers also take for an address: 127.1, 2130706433, 0x7f.1
        return not is_public(ipaddress.IPv4Address(socket.inet_aton(host)))
    except (OSError, ValueError):
        return False


def is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether it lies in the public network: not private, loopback, link-local, multicast, reserved or unspecified,
    also where it stands in an IPv6 address.
    """
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or (address.sixtofour if address in _SIX_TO_FOUR else None)
        if inner is not None:
            return is_public(inner)
        if address.is_site_local:
            return False
    return address.is_global and not (address.is_multicast or address.is_reserved)


async def resolve(host: str, port: int) -> list[str]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class _Guard(AsyncNetworkBackend):
    """Connects to an address that was checked, and to no other."""

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
            # One bad address spoils the name: whoever controls it must not choose between checks.
            for literal in addresses:
                if not is_public(ipaddress.ip_address(literal.partition("%")[0])):
                    raise RefusedAddressError(f"{host} leads to an address that is not public: {_PRIVATE}")
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
    """Makes the calls. `resolve` is for tests: names lead where it says."""

    def __init__(self, *, allow_private: bool = False, resolve: Resolve = resolve) -> None:
        self.allow_private = allow_private
        self._resolve = resolve
        self._pool: httpcore2.AsyncConnectionPool | None = None

    def with_own_connections(self) -> "Egress":
        """Another one by the same rules, with connections of its own."""
        return Egress(allow_private=self.allow_private, resolve=self._resolve)

    def check(self, url: str) -> httpx2.URL:
        """See `check_url`."""
        return check_url(url, allow_private=self.allow_private)

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
        """One call, within `total_s` from the look-up of the name to the last byte. EgressError says why it came to
        nothing; a redirect is an answer like any other. With `cut`, an answer that is too long is cut, not refused.
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
            scheme=target.raw_scheme,
            host=target.raw_host,
            port=target.port,
            target=target.raw_path,
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
                told = {
                    name.decode("latin-1").lower(): value.decode("latin-1")
                    for name, value in response.headers
                }
                return Answer(response.status, told, bytes(content))
        except (TimeoutError, httpcore2.TimeoutException):
            raise EgressError(f"there was no whole answer within {total_s:g} s") from None
        except httpcore2.ConnectError:
            raise EgressError("no connection could be made") from None
        except (httpcore2.NetworkError, httpcore2.ProtocolError, ssl.SSLError, OSError):
            raise EgressError("the connection broke, or what came over it was no HTTP") from None

    async def close(self) -> None:
        if self._pool is not None:
            await self._pool.aclose()
            self._pool = None
