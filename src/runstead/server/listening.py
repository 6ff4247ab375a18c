"""The listening socket of a server, its URL, and the line that reports it."""

import socket
from typing import Final

#: The start of the line that reports the URL once the server accepts requests.
READY: Final = "runstead is ready on "


def listen(host: str, port: int, *, share: bool = False) -> socket.socket:
    """Bind a socket.

    With `share`, other sockets of the same user can bind the same port and share its connections.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if share:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        raise OSError(f"cannot listen on {host} port {port}: {error.strerror}") from error
    sock.set_inheritable(False)
    return sock


def url_of(sock: socket.socket, *, tls: bool) -> str:
    host, port = sock.getsockname()[:2]
    return f"{'https' if tls else 'http'}://" + (f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
