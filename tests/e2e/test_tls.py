"""`runstead serve --tls-cert --tls-key`: TLS without a proxy, and a new certificate without a restart."""

import datetime as dt
import http.client
import resource
import signal
import socket
import ssl
from contextlib import ExitStack, suppress

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tests.support.server import Server, runstead
from tests.support.until import until


def write_pair(folder, name):
    """Write a certificate of this name for localhost, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "tls.crt").write_bytes(certificate.public_bytes(Encoding.PEM))
    (folder / "tls.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


@pytest.fixture
def files(tmp_path):
    write_pair(tmp_path, "first")
    return ("--tls-cert", str(tmp_path / "tls.crt"), "--tls-key", str(tmp_path / "tls.key"))


@pytest.fixture
def serving(new_server, files):
    return new_server(arguments=files).start()


def client_context():
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def connection(server):
    url = httpx2.URL(server.url)
    return http.client.HTTPSConnection(url.host, url.port, timeout=60, context=client_context())


def name_of(server):
    """The name in the certificate that a new connection gets."""
    one = connection(server)
    one.connect()
    found = x509.load_der_x509_certificate(one.sock.getpeercert(binary_form=True))
    one.close()
    return found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value


def get(one, path="/healthz", **headers):
    one.request("GET", path, headers=headers)
    answer = one.getresponse()
    answer.body = answer.read()
    return answer


def test_the_api_is_served_over_tls_with_hsts(serving):
    assert serving.url.startswith("https://")
    one = connection(serving)
    key = {"Authorization": f"Bearer {serving.key}"}
    for path in ("/healthz", "/projects", "/docs", "/nowhere", "/ui/sign-in"):
        answer = get(one, path, **key)
        assert answer.headers["strict-transport-security"] == "max-age=31536000", path
    assert one.sock.version() in ("TLSv1.2", "TLSv1.3")
    assert serving.terminate() == 0


def test_plain_http_has_no_hsts_and_tls_accepts_no_plain_http(server, serving):
    url = httpx2.URL(server.url)
    assert get(http.client.HTTPConnection(url.host, url.port)).headers["strict-transport-security"] is None
    url = httpx2.URL(serving.url)
    with socket.create_connection((url.host, url.port), timeout=60) as plain:
        plain.sendall(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n")
        with suppress(ConnectionResetError):
            assert not plain.recv(1_000).startswith(b"HTTP/")
    assert get(connection(serving)).status == 200


def test_the_session_cookie_is_secure_over_tls(serving):
    one = connection(serving)
    headers = {"Sec-Fetch-Site": "same-origin", "Content-Type": "application/x-www-form-urlencoded"}
    one.request("POST", "/ui/sign-in", f"credential={serving.key}", headers)
    cookie = one.getresponse().headers["set-cookie"]
    assert "runstead_session=" in cookie
    assert "; Secure" in cookie


def test_a_new_certificate_is_loaded_at_sighup_and_open_connections_go_on(serving, tmp_path):
    one = connection(serving)
    assert get(one).status == 200
    held = one.sock
    write_pair(tmp_path, "second")
    serving.signal(signal.SIGHUP)
    until(lambda: name_of(serving) == "second", "the new certificate")
    assert get(one).status == 200
    assert one.sock is held, "the connection was not opened again"


def test_a_pair_that_does_not_belong_together_does_not_replace_the_certificate(serving, tmp_path):
    key = (tmp_path / "tls.key").read_bytes()
    write_pair(tmp_path, "second")
    second = (tmp_path / "tls.key").read_bytes()
    (tmp_path / "tls.key").write_bytes(key)
    serving.signal(signal.SIGHUP)
    until(lambda: "not valid: the current one stays" in serving.log, "the warning")
    assert name_of(serving) == "first"
    (tmp_path / "tls.key").write_bytes(second)
    serving.signal(signal.SIGHUP)
    until(lambda: name_of(serving) == "second", "the new certificate")


def test_silent_connections_that_begin_no_handshake_lock_no_client_out(new_server, files):
    def few_files():
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))

    server = new_server(arguments=files, preexec=few_files).start()
    url = httpx2.URL(server.url)
    with ExitStack() as silent:
        for _ in range(280):
            silent.enter_context(socket.create_connection((url.host, url.port), timeout=60))
        for _ in range(10):
            assert get(connection(server)).status == 200
    assert server.terminate() == 0


def test_every_process_serves_tls_and_sighup_renews_them_all(url, files, tmp_path):
    (tmp_path / "many").mkdir()
    server = Server(tmp_path / "many", url, arguments=(*files, "--processes", "2")).start()
    try:
        assert server.url.startswith("https://")
        assert all(get(connection(server)).status == 200 for _ in range(10))
        write_pair(tmp_path, "second")
        server.signal(signal.SIGHUP)
        until(lambda: {name_of(server) for _ in range(10)} == {"second"}, "the new certificate")
    finally:
        assert server.terminate() == 0


@pytest.mark.parametrize(
    ("certificate", "key", "reason"),
    [
        ("tls.crt", None, "TLS needs both files"),
        ("tls.crt", "missing.key", "missing.key"),
        ("tls.key", "tls.key", "must be PEM files of a certificate and its key"),
    ],
)
def test_files_that_are_no_pair_are_refused_at_the_start(tmp_path, files, certificate, key, reason):
    given = {"RUNSTEAD_TLS_CERT": str(tmp_path / certificate), "RUNSTEAD_PORT": "0"}
    if key is not None:
        given["RUNSTEAD_TLS_KEY"] = str(tmp_path / key)
    code, _, err = runstead("serve", cwd=tmp_path, **given)
    assert code == 1
    assert reason in err
    assert not (tmp_path / "runstead.db").exists()
