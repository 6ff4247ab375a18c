"""What the cluster runs for a run: it starts the handler's process, ties it to the worker, and waits for its end."""

import contextlib
import socket
import struct
import threading
from typing import Final

from runstead.sdk.isolation.group import Group
from runstead.sdk.isolation.local import spawn

#: The first byte tells what a connection is for; the token follows.
CONTROL: Final = b"C"
MESSAGES: Final = b"T"
TERMINATE: Final = b"t"
KILL: Final = b"k"
CODE: Final = struct.Struct(">i")
TOKEN_BYTES: Final = 43
_CONNECT_S: Final = 30.0


def serve_run(host: str, port: int, token: str) -> int:
    """The exit code of the handler's process. OSError where the worker is not reached, or does not want it any more."""
    control = _connect(host, port, CONTROL, token)
    with control:
        with _connect(host, port, MESSAGES, token) as talk:
            group = spawn(talk.fileno())
        threading.Thread(
            target=_handle_control, args=(control, group), name="runstead-control", daemon=True
        ).start()
        code = group.wait()
        with contextlib.suppress(OSError):
            control.sendall(CODE.pack(code))
            control.shutdown(socket.SHUT_RDWR)
        return code


def _connect(host: str, port: int, kind: bytes, token: str) -> socket.socket:
    connection = socket.create_connection((host, port), timeout=_CONNECT_S)
    connection.sendall(kind + token.encode())
    if connection.recv(1) != kind:
        connection.close()
        raise ConnectionRefusedError("The worker does not wait for this run any more")
    connection.settimeout(None)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _handle_control(control: socket.socket, group: Group) -> None:
    """Once the worker is gone, nobody waits for what the handler does."""
    while True:
        try:
            word = control.recv(1)
        except OSError:
            word = b""
        if word == TERMINATE:
            group.terminate()
        else:
            group.kill()
        if not word:
            return
