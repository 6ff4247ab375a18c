"""The hosts of a URL, and a session to the one that is the primary (https://www.postgresql.org/docs/current/libpq-connect.html).

A URL may list all servers of a cluster. After a failover the next session finds the new primary, and the sessions at the
old one are closed.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit
from weakref import WeakKeyDictionary, WeakSet

import asyncpg

from runstead.core import limits
from runstead.engines.postgres import session_limits

_ACCEPTED: Final = ("primary", "read-write", "any")


class StandbyError(ConnectionError):
    """The server is a standby, and every session needs the primary."""


class NoStandbyError(ConnectionError):
    """The server is the primary, and the session is for reads at a standby."""


_NEXT_HOST: Final = (
    OSError,
    asyncpg.PostgresConnectionError,  # PgBouncer cannot reach its server
    asyncpg.OperatorInterventionError,  # the server starts or stops
    asyncpg.TooManyConnectionsError,
)


def hosts_of(url: str) -> list[tuple[str, int]]:
    """Host and port of each server, in the order of the URL. A host is "" for the default, or the directory of a socket."""
    parts = urlsplit(url)
    query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    listed = parts.netloc.rpartition("@")[2] or query.get("host") or os.environ.get("PGHOST") or ""
    ports = (query.get("port") or os.environ.get("PGPORT") or "5432").split(",")
    hosts = []
    for number, one in enumerate(map(unquote, listed.split(","))):
        host, port = _split(one)
        hosts.append((host, int(port or ports[number if len(ports) > 1 else 0])))
    return hosts


def _split(named: str) -> tuple[str, str]:
    """host, host:port, [address]:port, an IPv6 address, or the directory of a socket."""
    if named.startswith("["):
        host, _, port = named[1:].partition("]")
        return host, port.removeprefix(":")
    if named.startswith(("/", "@")) or named.count(":") > 1:
        return named, ""
    host, _, port = named.partition(":")
    return host, port


Host = tuple[str, int]
Opener = Callable[..., Awaitable[asyncpg.Connection]]
"""open(**{"host", "port"} or nothing) → a session. StandbyError if the server is a standby."""


async def connect_to_primary(url: str, open_at: Opener) -> asyncpg.Connection:
    """Open a session at the primary: at the host that is not a standby.

    A host has `limits.connect_s` to respond. ValueError if the URL demands a standby.
    """
    wanted = parse_qs(urlsplit(url).query).get("target_session_attrs", ["primary"])[-1]
    if wanted not in _ACCEPTED:
        raise ValueError(
            f"its URL has target_session_attrs={wanted}, and every session needs the primary: leave it out"
        )
    clusters = _clusters.setdefault(asyncio.get_running_loop(), {})
    if url not in clusters:
        clusters[url] = _Cluster(hosts_of(url))
    return await clusters[url].session(open_at)


class _Cluster:
    """What an event loop knows of the servers of a URL.

    When a primary fails, all sessions are replaced at once. So one search for the new primary serves all of them, and few
    sessions are opened at a time: a server or a pooler that must open many would respond to none in time.
    """

    def __init__(self, hosts: list[Host]) -> None:
        self._hosts = hosts
        self._primary: Host | None = None
        self._sessions: WeakSet[asyncpg.Connection] = WeakSet()  # at that host, or at the last one
        self._sessions_at: Host | None = None
        self._search: asyncio.Task[Host | Exception] | None = None
        self._opening = asyncio.Semaphore(session_limits.opening_max)

    async def session(self, open_at: Opener) -> asyncpg.Connection:
        if len(self._hosts) == 1:
            async with asyncio.timeout(limits.connect_s), self._opening:
                return await open_at()
        if (primary := self._primary) is not None:
            try:
                return await self._open(primary, open_at)
            except _NEXT_HOST:
                if self._primary == primary:
                    self._primary = None
        return await self._open(self._primary or await self._find(open_at), open_at)

    async def _open(self, host: Host, open_at: Opener) -> asyncpg.Connection:
        async with asyncio.timeout(limits.connect_s), self._opening:
            if self._primary != host:
                raise StandbyError("it is not the primary any more")
            connection = await open_at(host=host[0], port=host[1])
        if self._sessions_at != host:  # another primary was found meanwhile
            connection.terminate()
            raise StandbyError("it is not the primary any more")
        self._sessions.add(connection)
        return connection

    async def _find(self, open_at: Opener) -> Host:
        """Find the primary, or wait for the search that is under way."""
        if self._search is None:
            self._search = asyncio.ensure_future(self._found(open_at))
        found = await asyncio.shield(self._search)
        if isinstance(found, Exception):
            raise found
        return found

    async def _found(self, open_at: Opener) -> Host | Exception:
        """Ask all hosts at once, so that one that does not respond delays none. Return the first primary, or the reason why
        there is none.
        """

        async def ask(host: Host) -> Host | Exception:
            try:
                async with asyncio.timeout(limits.connect_s / 2):
                    connection = await open_at(host=host[0], port=host[1])
            except Exception as error:  # noqa: BLE001 - a reason, if no other host is the primary
                return error
            connection.terminate()
            return host

        asked = [asyncio.ensure_future(ask(host)) for host in self._hosts]
        failed: Exception | None = None
        try:
            for each in asyncio.as_completed(asked):
                found = await each
                if not isinstance(found, Exception):
                    self._follow(found)
                    return found
                # That a host does not respond explains more than that another one is a standby.
                failed = found if failed is None or isinstance(failed, StandbyError) else failed
        finally:
            self._search = None
            for task in asked:
                task.cancel()
        assert failed is not None
        return failed

    def _follow(self, primary: Host) -> None:
        """Close the sessions at another host: a primary that was stopped or cut off may never end them, and would answer with
        old data if it continues.
        """
        if self._sessions_at != primary:
            for session in list(self._sessions):
                session.terminate()
            self._sessions = WeakSet()
        self._primary = self._sessions_at = primary


_clusters: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, _Cluster]]] = WeakKeyDictionary()
