"""TLS to PostgreSQL: verified where the server is elsewhere, and the messages where it cannot be."""

import asyncio
import ssl
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from runstead.engines.postgres import tls
from runstead.engines.postgres.connection import connect, plainly
from runstead.engines.postgres.store import PostgresStore
from runstead.engines.postgres.tls import tls_of

HOST = "db.example.test"
SSL_REQUEST = bytes.fromhex("0000000804d2162f")


@pytest.fixture(autouse=True)
def no_files_of_the_user(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("PGSSLMODE", "PGSSLROOTCERT", "PGHOST"):
        monkeypatch.delenv(name, raising=False)
    tls._system_context.cache_clear()


def certificate(folder, host=HOST):
    """A certificate for a host, signed by itself. Returns the files of the certificate and its key."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    built = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    built = built.not_valid_before(now - timedelta(1)).not_valid_after(now + timedelta(1))
    built = built.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
    built = built.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    chain, private = folder / f"{host}.pem", folder / f"{host}.key"
    chain.write_bytes(built.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return chain, private


@pytest.fixture
def named(monkeypatch):
    """Let the host name of the tests lead to this machine."""
    resolve = asyncio.BaseEventLoop.getaddrinfo

    async def getaddrinfo(loop, host, *args, **options):
        return await resolve(loop, "127.0.0.1" if host == HOST else host, *args, **options)

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)


@asynccontextmanager
async def in_front_of(databases, files=None):
    """Serve the PostgreSQL of the tests, which is built without TLS, behind TLS. Yields the port.

    Without `files` it refuses TLS, as a server without a certificate does.
    """
    context = None
    if files is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*files)

    async def pipe(source, target):
        while data := await source.read(65_536):
            target.write(data)
        target.close()

    async def serve(reader, writer):
        first = await reader.readexactly(8)
        if first == SSL_REQUEST:
            writer.write(b"N" if context is None else b"S")
            await writer.drain()
            if context is not None:
                await writer.start_tls(context)
            first = b""
        behind, into = await asyncio.open_unix_connection(f"{databases.server.home}/.s.PGSQL.5432")
        into.write(first)
        await asyncio.gather(pipe(reader, into), pipe(behind, writer), return_exceptions=True)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def encrypted(url):
    """Whether a session of the URL is encrypted."""
    connection = await connect(url)
    try:
        assert await connection.fetchval("SELECT 1") == 1
        return connection._transport.get_extra_info("ssl_object") is not None
    finally:
        await connection.close()


@pytest.mark.usefixtures("named")
async def test_a_server_elsewhere_is_verified_by_default(databases, database, tmp_path):
    good, other = certificate(tmp_path), certificate(tmp_path, "other.example.test")
    async with in_front_of(databases, good) as port:
        url = f"postgresql://postgres@{HOST}:{port}/{database}"
        with pytest.raises(ssl.SSLCertVerificationError) as refused:
            await connect(url)
        assert "sslrootcert=" in plainly(refused.value)
        assert "self-signed certificate" in plainly(refused.value)
        assert await encrypted(f"{url}?sslrootcert={good[0]}")
        assert await encrypted(f"{url}?sslmode=require")
        with pytest.raises(ssl.SSLCertVerificationError):
            await connect(f"{url}?sslrootcert={other[0]}")
    async with in_front_of(databases, other) as port:
        url = f"postgresql://postgres@{HOST}:{port}/{database}?sslrootcert={other[0]}"
        with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
            await connect(url)
        assert await encrypted(f"{url}&sslmode=verify-ca")


@pytest.mark.usefixtures("named")
async def test_a_server_elsewhere_without_tls_is_refused_with_the_remedy(databases, database):
    async with in_front_of(databases) as port:
        url = f"postgresql://postgres@{HOST}:{port}/{database}"
        with pytest.raises(RuntimeError, match=r"does not offer TLS: .* \?sslmode=disable"):
            await PostgresStore(url).open()
        assert not await encrypted(f"{url}?sslmode=disable")


async def test_a_server_on_this_machine_needs_no_tls(databases, database):
    async with in_front_of(databases) as port:
        assert not await encrypted(f"postgresql://postgres@127.0.0.1:{port}/{database}")
        assert not await encrypted(f"postgresql://postgres@localhost:{port}/{database}")


LOCAL = [
    "postgresql:///shop",
    "postgresql://ada@/shop?host=/run/postgresql",
    "postgresql://ada@%2Frun%2Fpostgresql/shop",
    "postgresql://ada:p%40ss@localhost/shop",
    "postgresql://ada@localhost:5432,127.0.0.2:5433/shop",
    "postgresql://ada@[::1]:5432/shop",
    "postgresql://ada@/shop?host=::1",
    "postgresql://ada@db.localhost/shop",
]
ELSEWHERE = [
    "postgresql://ada@db.example.com/shop",
    "postgresql://ada@10.0.0.5:5432/shop",
    "postgresql://ada@[2001:db8::1]:5432/shop",
    "postgresql://ada@/shop?host=db.example.com",
    "postgresql://ada@localhost,db.example.com/shop",
    "postgresql://ada@localhost.example.com/shop",
    "postgresql://ada@127.0.0.1.example.com/shop",
]


@pytest.mark.parametrize("url", LOCAL)
def test_local_servers_are_recognized(url):
    assert tls_of(url) is None


@pytest.mark.parametrize("url", ELSEWHERE)
def test_every_other_server_is_verified_with_its_name(url, monkeypatch):
    context = tls_of(url)
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    mark = "&" if "?" in url else "?"
    assert tls_of(f"{url}{mark}sslrootcert=/etc/ca.pem") == "verify-full"
    for mode in ("disable", "allow", "prefer", "require"):
        assert tls_of(f"{url}{mark}sslmode={mode}") == mode
    assert not tls_of(f"{url}{mark}sslmode=verify-ca").check_hostname
    monkeypatch.setenv("PGSSLMODE", "disable")
    assert tls_of(url) == "disable"


def test_the_host_of_the_environment_counts(monkeypatch):
    monkeypatch.setenv("PGHOST", "db.example.com")
    assert tls_of("postgresql:///shop") is not None
