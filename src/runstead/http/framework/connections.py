"""Limits on connections: their number, in total and per address, and the time that each may take."""

import asyncio
import ipaddress
from collections import Counter, OrderedDict
from contextlib import suppress
from itertools import islice
from typing import Final, NamedTuple, Protocol

import structlog

from runstead.core import limits
from runstead.core.errors import Error
from runstead.http.framework.origin import TrustedProxies
from runstead.ports import metrics

log = structlog.get_logger(__name__)

_looked_max: Final = 1_000  # connections that are checked to find one that can be closed


class Bounds(NamedTuple):
    """Limits of connections: in total, per address, and of those that wait to be accepted."""

    connections_max: int
    per_address_max: int
    backlog: int


def bounds(connections_max: int | None = None, per_address_max: int | None = None) -> Bounds:
    """Return the configured limits, or what the limit on open files allows.

    Some files are reserved for the store, for outgoing calls, and for connections that are accepted to be
    refused.
    """
    files = limits.connections_max + limits.files_kept_max
    with suppress(ImportError):  # Windows has no such limit
        import resource  # noqa: PLC0415

        allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        files = files if allowed == resource.RLIM_INFINITY else allowed
    reserved = min(files // 4, limits.files_kept_max)
    total = min(connections_max or limits.connections_max, files - reserved)
    return Bounds(
        total,
        min(per_address_max or max(total // 2, 1), total),
        max(1, min(limits.backlog_max, (files - total) // 2)),
    )


class Connection(Protocol):
    def expired(self) -> None:
        """The deadline of the connection passed."""

    def close(self) -> None:
        """Close it now, since another connection needs its place."""


class Deadline:
    """The connections that one kind of deadline applies to, oldest first."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.since: OrderedDict[Connection, float] = OrderedDict()


class Connections:
    """All open connections of a server.

    A connection has one deadline at a time, or none while its request is served.
    """

    def __init__(self, bounds: Bounds, proxies: TrustedProxies | None = None) -> None:
        """Connections of `proxies` have no limit per address, since they carry the requests of many."""
        self.bounds = bounds
        self.proxies = proxies or TrustedProxies()
        self.header = Deadline(limits.header_s_max)
        self.body = Deadline(limits.body_s_max)
        self.idle = Deadline(limits.idle_s_max)
        self.refused = Deadline(limits.refused_s_max)
        self.tick_s = 0.5
        self._addresses: dict[Connection, str] = {}
        self._of_address: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._addresses)

    def admit(self, connection: Connection, host: str | None) -> Error | None:
        """Count a new connection.

        Returns an error if the limit is reached and no idle connection could be closed.
        """
        address = network(host)
        most = self.bounds.per_address_max
        if (
            self._of_address[address] >= most
            and not self.proxies.trust(host)
            and not self._make_room(address)
        ):
            message = f"This address has {most} open connections: close some, or retry later"
            return Error("ADDRESS_LIMIT_REACHED", message, retry_after_s=1)
        most = self.bounds.connections_max
        if len(self._addresses) >= most and not self._make_room(None):
            message = f"The server has {most} open connections: retry later"
            return Error("CONNECTION_LIMIT_REACHED", message, retry_after_s=1)
        self._addresses[connection] = address
        self._of_address[address] += 1
        metrics.connections.inc()
        return None

    def leave(self, connection: Connection) -> None:
        address = self._addresses.pop(connection, None)
        if address is None:
            return
        metrics.connections.dec()
        self._of_address[address] -= 1
        if not self._of_address[address]:
            del self._of_address[address]

    def may_linger(self) -> bool:
        """Return whether another refused connection may stay open until its caller has read the error."""
        return len(self.refused.since) < self.bounds.backlog

    def _make_room(self, address: str | None) -> bool:
        """Close the connection that was idle longest.

        Connections that never sent a request are closed first.
        """
        for deadline in (self.header, self.idle):
            for connection in islice(deadline.since, _looked_max):
                if address is None or self._addresses.get(connection) == address:
                    connection.close()
                    return True
        return False

    def enforce(self, now: float) -> None:
        """Expire every connection whose deadline has passed."""
        for deadline in (self.header, self.body, self.idle, self.refused):
            late = []
            for connection, since in deadline.since.items():
                if now - since < deadline.seconds:
                    break
                late.append(connection)
            for connection in late:
                try:
                    connection.expired()
                except Exception:
                    log.exception("closing a connection failed")
                    connection.close()

    async def watch(self) -> None:
        """Enforce deadlines every `tick_s` seconds, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            planned = loop.time() + self.tick_s
            await asyncio.sleep(self.tick_s)
            now = loop.time()
            metrics.event_loop_lag.observe(max(now - planned, 0))
            self.enforce(now)


def network(host: str | None) -> str:
    """Return what counts as one address: an IPv4 address, or the /64 network of an IPv6 address."""
    if host is None or ":" not in host:
        return host or ""
    address = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        return str(address.ipv4_mapped or int(address) >> 64)
    return str(address)
