"""The hosts of a URL, and a session to the one that is the primary (https://www.postgresql.org/docs/current/libpq-connect.html).

A URL may list all servers of a cluster. After a failover the next session finds the new primary.
"""

import os
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

import asyncpg

from runstead.core import limits
from runstead.engines.postgres import session_limits

PRIMARY: Final = "primary"
_ACCEPTED: Final = (PRIMARY, "read-write", "any")
_NEXT_HOST: Final = (
    OSError,
    asyncpg.CannotConnectNowError,
    asyncpg.exceptions.TargetServerAttributeNotMatched,
)
_primaries: Final[dict[str, tuple[str, int]]] = {}
"""URL → the host that was the primary, which is tried first."""


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


async def connect_to_primary(url: str, **options: Any) -> asyncpg.Connection:
    """Open a session at the first host that is not a standby. `options` are those of asyncpg.

    All hosts together have `limits.connect_s`, so that one that does not respond leaves time for the others. ValueError
    if the URL demands a standby.
    """
    wanted = parse_qs(urlsplit(url).query).get("target_session_attrs", [PRIMARY])[-1]
    if wanted not in _ACCEPTED:
        raise ValueError(
            f"its URL has target_session_attrs={wanted}, and every session needs the primary: leave it out"
        )
    # Not read-write: it refuses the sessions that are read-only by their own setting.
    options |= {"target_session_attrs": PRIMARY}
    hosts = hosts_of(url)
    if len(hosts) == 1:
        return await asyncpg.connect(url, timeout=limits.connect_s, **options)
    hosts.sort(key=lambda each: each != _primaries.get(url))
    failed: BaseException | None = None
    for host, port in hosts:
        try:
            connection = await asyncpg.connect(
                url, host=host, port=port, timeout=limits.connect_s / len(hosts), **options
            )
        except _NEXT_HOST as error:
            failed = error
        else:
            _primaries[url] = host, port
            return connection
    assert failed is not None
    raise failed


async def connect_to_standby(url: str, host: str, port: int, **options: Any) -> asyncpg.Connection:
    """Open a session at this host of the URL, within `session_limits.standby_reply_s`.

    TargetServerAttributeNotMatched if it is a primary. `options` are those of asyncpg.
    """
    place = {"host": host, "port": port} if host else {}
    options |= {"target_session_attrs": "standby"}
    return await asyncpg.connect(url, timeout=session_limits.standby_reply_s, **place, **options)
