"""The task that a cluster runs: it starts the handler's process, connects it to the worker, and waits for its end."""

import contextlib
import socket
import struct
import threading
from typing import Final

from runstead.sdk.isolation.group import Group
from runstead.sdk.isolation.local import spawn

#: The first byte of a connection is its purpose. The token follows.
CONTROL: Final = b"C"
MESSAGES: Final = b"T"
TERMINATE: Final = b"t"
KILL: Final = b"k"
CODE: Final = struct.Struct(">i")
TOKEN_BYTES: Final = 43
_CONNECT_S: Final = 30.0


def serve_run(host: str, port: int, token: str) -> int:
    """Run the handler's process, and return its exit code.

    Raise OSError where the worker cannot be reached, or no longer waits for the run.
    """
    control = _connect(host, port, CONTROL, token)
    with control:
        with _connect(host, port, MESSAGES, token) as messages:
            group = spawn(messages.fileno())
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
        raise ConnectionRefusedError("The worker no longer waits for this run")
    connection.settimeout(None)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _handle_control(control: socket.socket, group: Group) -> None:
    """Follow the worker's commands. When the worker has disconnected, kill the handler's process."""
    while True:
        try:
            command = control.recv(1)
        except OSError:
            command = b""
        if command == TERMINATE:
            group.terminate()
        else:
            group.kill()
        if not command:
            return
