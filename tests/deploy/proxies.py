"""The proxies of deploy/ as real programs: with the shipped files, and other addresses, certificates and waiting times."""

import datetime as dt
import os
import shutil
import socket
import ssl
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tests.support.until import until

DEPLOY = Path(__file__).parents[2] / "deploy"
HOST = "runstead.example.com"
#: How long nginx waits for bytes of the server. The test's server sends a comment more often.
READ_TIMEOUT_S = 2


def free_ports(count):
    """Ports of the loopback address that were free just now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def write_certificate(folder):
    """Write fullchain.pem for HOST, signed by itself, and privkey.pem."""
    key, now = ec.generate_private_key(ec.SECP256R1()), dt.datetime.now(dt.UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "fullchain.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    (folder / "privkey.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def substituted(file, **changes):
    """The text of a shipped file. Each old text must be in it."""
    text = (DEPLOY / file).read_text()
    for old, new in changes.items():
        assert old in text, f"{file} has no {old!r}"
        text = text.replace(old, new)
    return text


def nginx(folder, upstream, http, https):
    write_certificate(folder)
    (folder / "runstead.conf").write_text(
        substituted(
            "nginx/runstead.conf",
            **{
                "listen 80;": f"listen 127.0.0.1:{http};",
                "listen 443 ssl http2;": f"listen 127.0.0.1:{https} ssl http2;",
                "127.0.0.1:8720": upstream,
                "/etc/ssl/runstead": str(folder),
                "proxy_read_timeout 60s": f"proxy_read_timeout {READ_TIMEOUT_S}s",
            },
        )
    )
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = "".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
    (folder / "nginx.conf").write_text(
        f"daemon off; pid {folder}/nginx.pid; worker_processes 1; events {{}}\n"
        f"http {{ access_log off; {paths} include {folder}/runstead.conf; }}\n"
    )
    return ["nginx", "-e", "stderr", "-c", str(folder / "nginx.conf")], folder / "fullchain.pem"


def caddy(folder, upstream, http, https, shipped=None):
    options = f"admin off\nhttp_port {http}\nhttps_port {https}\ndefault_bind 127.0.0.1\nlocal_certs\nskip_install_trust"
    shipped = shipped or substituted("caddy/Caddyfile", **{"127.0.0.1:8720": upstream})
    (folder / "Caddyfile").write_text(f"{{\n{options}\nstorage file_system {folder}\n}}\n{shipped}")
    command = ["caddy", "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]
    return command, folder / "pki/authorities/local/root.crt"


def traefik(folder, upstream, http, https):
    write_certificate(folder)
    routes = {"127.0.0.1:8720": upstream, "/etc/ssl/runstead": str(folder)}
    (folder / "runstead.yaml").write_text(substituted("traefik/runstead.yaml", **routes))
    static = {
        '":80"': f'"127.0.0.1:{http}"',
        '":443"': f'"127.0.0.1:{https}"',
        "to: websecure": f'to: ":{https}"',
        "/etc/traefik": str(folder),
    }
    (folder / "traefik.yaml").write_text(substituted("traefik/traefik.yaml", **static))
    return ["traefik", f"--configfile={folder / 'traefik.yaml'}"], folder / "fullchain.pem"


def compose(folder, upstream, http, https, gone):
    """Caddy of the Compose file, with a second replica at an address where none is."""
    replicas = {"server-1:8720": gone, "server-2:8720": upstream, "{$SERVER_NAME}": HOST}
    return caddy(folder, upstream, http, https, substituted("compose/Caddyfile", **replicas))


PROXIES = {"nginx": nginx, "caddy": caddy, "traefik": traefik}


class Proxy:
    """A running proxy, and curl as its client, which speaks HTTP/2. `with` ends it."""

    def __init__(self, name, folder, server, program, **options):
        self._folder, self.key = folder, server.key
        self._http, self._https = free_ports(2)
        configured = PROXIES.get(name, compose)
        upstream = server.url.removeprefix("http://")
        command, self._authority = configured(folder, upstream, self._http, self._https, **options)
        self._command = [program, *command[1:]]

    def __enter__(self):
        environment = {"PATH": os.environ["PATH"], "HOME": str(self._folder)}
        with (self._folder / "proxy.log").open("w") as log:
            self.process = subprocess.Popen(
                self._command, env=environment, stdout=log, stderr=log, cwd=self._folder
            )
        until(self._serves, "the proxy")
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def _serves(self):
        assert self.process.poll() is None, (self._folder / "proxy.log").read_text()
        done = self.run("/healthz", check=False)
        return done.stdout.endswith("200")

    def protocol(self):
        """What the proxy chooses of HTTP/2 and HTTP/1.1 in the TLS handshake."""
        context = ssl.create_default_context(cafile=self._authority)
        context.set_alpn_protocols(["h2", "http/1.1"])
        with closing(socket.create_connection(("127.0.0.1", self._https), 60)) as raw:
            return context.wrap_socket(raw, server_hostname=HOST).selected_alpn_protocol()

    def _curl(self, path, *arguments, scheme="https"):
        """A caller of another address: 127.0.0.2."""
        return [
            *(
                "curl",
                "-sS",
                "--max-time",
                "60",
                "--interface",
                "127.0.0.2",
                "--cacert",
                str(self._authority),
            ),
            *("--connect-to", f"{HOST}:443:127.0.0.1:{self._https}"),
            *("--connect-to", f"{HOST}:80:127.0.0.1:{self._http}"),
            *("-H", f"Authorization: Bearer {self.key}", *arguments, f"{scheme}://{HOST}{path}"),
        ]

    def run(self, path, *arguments, scheme="https", check=True):
        """Call and end. `stdout` ends with the version of HTTP and the status: `2 200`."""
        command = self._curl(path, "-w", "\n%{http_version} %{http_code}", *arguments, scheme=scheme)
        return subprocess.run(command, capture_output=True, text=True, check=check)

    def follow(self, path, *arguments):
        """A program whose stdout is a stream, line by line."""
        return subprocess.Popen(self._curl(path, "-N", *arguments), stdout=subprocess.PIPE, text=True)


def found(name):
    """The path of a program, or None: of this virtual environment, of PATH, or of root's PATH (nginx)."""
    folders = Path(sys.executable).parent, os.environ["PATH"], "/usr/sbin", "/sbin"
    return shutil.which(name, path=os.pathsep.join(map(str, folders)))
