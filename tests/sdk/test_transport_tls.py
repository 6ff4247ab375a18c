"""The async client over TLS, through proxies, and with a client that the caller passes."""

import asyncio
import ssl
from datetime import UTC, datetime, timedelta

import httpx2
import pytest

from runstead.sdk import AsyncClient, NoAnswerError
from runstead.sdk.transport import pool
from runstead.sdk.transport.httpx_transport import HttpxTransport

from .raw_server import OK, RawServer, answers, response, servers


@pytest.fixture
async def serve():
    async with servers() as make:
        yield make


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """(a context for a server called `localhost`, a file with its authority)."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    plain = serialization.NoEncryption()
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (folder / "key.pem").write_bytes(key.private_bytes(pem, pkcs8, plain))
    (folder / "cert.pem").write_bytes(certificate.public_bytes(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context, folder / "cert.pem"


async def test_tls_with_a_private_authority(serve, certificates, monkeypatch):
    context, authority = certificates
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    server, client = await serve(answers(OK, OK), tls=context, host="localhost")
    await client.health.live()
    await client.health.live()
    assert len(server.peers) == 1


async def test_a_certificate_for_another_host_is_refused(serve, certificates, monkeypatch):
    context, authority = certificates
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    server, client = await serve(answers(OK), tls=context, host="127.0.0.1")
    with pytest.raises(NoAnswerError, match=r"ConnectError.*127\.0\.0\.1") as caught:
        await client.health.live()
    assert caught.value.unsent
    assert server.requests == []


async def test_a_certificate_of_an_unknown_authority_is_refused(serve, certificates):
    server, client = await serve(answers(OK), tls=certificates[0], host="localhost")
    with pytest.raises(NoAnswerError, match=r"ConnectError.*verify failed"):
        await client.health.live()
    assert server.requests == []


async def through(peer):
    """A proxy: after CONNECT it forwards bytes in both directions, and answers other requests itself."""
    head = (await peer.reader.readuntil(b"\r\n\r\n")).decode()
    peer.requests.append(head)
    method, target, _ = head.split(" ", 2)
    if method != "CONNECT":
        await peer.send(response(b'{"status":"proxied"}'))
        return await peer.wait_until_closed()
    reader, writer = await asyncio.open_connection(*target.split(":"))
    await peer.send(b"HTTP/1.1 200 Connection established\r\n\r\n")

    async def copy(source, sink):
        while data := await source.read(65536):
            sink.write(data)

    try:
        await asyncio.wait(
            [
                asyncio.ensure_future(copy(peer.reader, writer)),
                asyncio.ensure_future(copy(reader, peer.writer)),
            ],
            return_when=asyncio.FIRST_COMPLETED,
        )
    finally:
        writer.close()


@pytest.fixture
async def proxy(monkeypatch):
    server = await RawServer(through).open()
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{server.port}")
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{server.port}")
    yield server
    await server.close()


async def test_a_proxy_tunnels_to_a_server_with_tls(serve, proxy, certificates, monkeypatch):
    context, authority = certificates
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    server, client = await serve(answers(OK), tls=context, host="localhost")
    assert isinstance(client._transport, HttpxTransport)
    assert (await client.health.live()).status == "ok"
    assert proxy.requests[0].startswith(f"CONNECT localhost:{server.port} HTTP/1.1")
    assert "Authorization" not in proxy.requests[0]


async def test_a_proxy_gets_requests_for_a_server_without_tls(serve, proxy):
    server, client = await serve(answers(OK))
    assert (await client.health.live()).status == "proxied"
    assert proxy.requests[0].startswith(f"GET http://127.0.0.1:{server.port}/healthz HTTP/1.1")
    assert server.peers == []


@pytest.mark.parametrize("hosts", ["127.0.0.1", "*", "example.com,127.0.0.1"])
async def test_a_server_in_no_proxy_is_called_directly(serve, proxy, monkeypatch, hosts):
    monkeypatch.setenv("NO_PROXY", hosts)
    _, client = await serve(answers(OK))
    assert isinstance(client._transport, pool.Pool)
    assert (await client.health.live()).status == "ok"
    assert proxy.peers == []


async def test_a_client_that_the_caller_passes_is_used():
    http = httpx2.AsyncClient(
        transport=httpx2.MockTransport(lambda _: httpx2.Response(200, json={"status": "mine"}))
    )
    async with AsyncClient("http://127.0.0.1:1", "k", http=http) as client:
        assert (await client.health.live()).status == "mine"
    assert not http.is_closed
    await http.aclose()
