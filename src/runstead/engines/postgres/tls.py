"""TLS of the sessions: verified, unless the URL names a weaker mode or the server is on this machine."""

import ipaddress
import os
import ssl
from functools import lru_cache
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlsplit

from runstead.engines.postgres.hosts import hosts_of

_SYSTEM: Final = "system"
_VERIFIED: Final = ("verify-ca", "verify-full")

Tls = ssl.SSLContext | str | None
"""A context, a mode of asyncpg (which then reads the files of the URL), or asyncpg's own choice."""


def tls_of(url: str) -> Tls:
    """Return the argument `ssl` of a connection.

    Without `sslmode` in the URL or PGSSLMODE, a server elsewhere must have a certificate for its host name that a
    trusted CA signed (`verify-full`). CAs are those of `sslrootcert`, PGSSLROOTCERT or ~/.postgresql/root.crt, else
    those of the system. asyncpg by itself would encrypt without verifying, and continue without TLS where the server
    refuses it.
    """
    query = {name: values[-1] for name, values in parse_qs(urlsplit(url).query).items()}
    mode = query.get("sslmode") or os.environ.get("PGSSLMODE")
    if mode is None and all(_is_local_host(host) for host, _ in hosts_of(url)):
        return None
    if mode is not None and mode not in _VERIFIED:
        return mode
    authorities = query.get("sslrootcert") or os.environ.get("PGSSLROOTCERT")
    if authorities != _SYSTEM and (authorities or (Path.home() / ".postgresql" / "root.crt").exists()):
        return mode or "verify-full"
    certificate = query.get("sslcert") or os.environ.get("PGSSLCERT")
    key = query.get("sslkey") or os.environ.get("PGSSLKEY")
    return _system_context(certificate, key, query.get("sslpassword"), check_hostname=mode != "verify-ca")


def _is_local_host(host: str) -> bool:
    """Whether it is a socket or a loopback address."""
    if not host or host[0] in "/@" or host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@lru_cache(8)
def _system_context(
    certificate: str | None, key: str | None, password: str | None, *, check_hostname: bool
) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = check_hostname
    if certificate is not None:
        context.load_cert_chain(certificate, key, password)
    return context


def tls_trouble(error: Exception) -> str | None:
    """Return the reason of a failed TLS session with its remedy. None for other errors."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"its certificate is not trusted ({error.verify_message}): name its CA with ?sslrootcert=ca.pem in the "
            "URL, or use ?sslmode=require to encrypt without verification"
        )
    if isinstance(error, ssl.SSLError):
        return f"the TLS handshake failed ({error.reason or error})"
    if isinstance(error, ConnectionError) and "SSL upgrade" in str(error):
        return "it does not offer TLS: enable it there, or use ?sslmode=disable in the URL where the network is trusted"
    return None
