"""How many connections there may be, in all and of one address, and how long each may take to say what it wants."""

import asyncio
import ipaddress
import resource
from collections import Counter, OrderedDict
from itertools import islice
from typing import Final, NamedTuple, Protocol

import structlog

from runstead.core import limits
from runstead.core.errors import Error
from runstead.ports import metrics

log = structlog.get_logger(__name__)

_looked_max: Final = 1_000  # connections that are looked at for one to close in another's favour


class Bounds(NamedTuple):
    """Of connections in all, of those of one address, and of those that wait to be accepted."""

    connections_max: int
    per_address_max: int
    backlog: int


def bounds(connections_max: int | None = None, per_address_max: int | None = None) -> Bounds:
    """What the operator asked for, else what the limit on open files allows for. Some files are kept back: for the store,
    for what goes out, and for connections that are accepted only to be refused.
    """
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if files == resource.RLIM_INFINITY:
        files = limits.connections_max + limits.files_kept_max
    kept = min(files // 4, limits.files_kept_max)
    total = min(connections_max or limits.connections_max, files - kept)
    return Bounds(
        total,
        min(per_address_max or max(total // 2, 1), total),
        max(1, min(limits.backlog_max, (files - total) // 2)),
    )


class Connection(Protocol):
    def expired(self) -> None:
        """What it was awaited for did not come in time."""

    def close(self) -> None:
        """Close it now: another needs its place."""


class Deadline:
    """Connections of which one thing is awaited, the longest first."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.since: OrderedDict[Connection, float] = OrderedDict()


class Connections:
    """All open connections of one server. A connection is in one deadline at a time, or in none while it is worked for."""

    def __init__(self, given: Bounds) -> None:
        self.bounds = given
        self.header = Deadline(limits.header_s_max)
        self.body = Deadline(limits.body_s_max)
        self.idle = Deadline(limits.idle_s_max)
        self.refused = Deadline(limits.refused_s_max)
        self.tick_s = 0.5
        self._addresses: dict[Connection, str] = {}
        self._of_address: Counter[str] = Counter()

    def admit(self, connection: Connection, host: str | None) -> Error | None:
        """Count it; the refusal where there are too many already, and none of them could be closed in its favour."""
        address = _network(host)
        most = self.bounds.per_address_max
        if self._of_address[address] >= most and not self._make_room(address):
            told = f"This address has {most} open connections: close some, or try again later"
            return Error("ADDRESS_LIMIT_REACHED", told, retry_after_s=1)
        most = self.bounds.connections_max
        if len(self._addresses) >= most and not self._make_room(None):
            told = f"The server has {most} open connections: try again later"
            return Error("CONNECTION_LIMIT_REACHED", told, retry_after_s=1)
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
        """Whether one more refused connection may stay for a moment, so that its caller can read why."""
        return len(self.refused.since) < self.bounds.backlog

    def _make_room(self, address: str | None) -> bool:
        """Close the connection that has asked for nothing for the longest time: first of those that never did."""
        for deadline in (self.header, self.idle):
            for connection in islice(deadline.since, _looked_max):
                if address is None or self._addresses.get(connection) == address:
                    connection.close()
                    return True
        return False

    def look(self, now: float) -> None:
        """Deal with every connection whose time is up."""
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
        """Look again and again, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self.tick_s)
            self.look(loop.time())


def _network(host: str | None) -> str:
    """Whom an address stands for: with IPv6 the /64, any address of which one machine can take."""
    if host is None or ":" not in host:
        return host or ""
    address = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        return str(address.ipv4_mapped or int(address) >> 64)
    return str(address)
