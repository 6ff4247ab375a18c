"""Moto's S3 server as a process of its own."""

import socket
import subprocess
import sys
import time
from contextlib import contextmanager

import httpx2


@contextmanager
def s3_server():
    """The URL of a server with the bucket `artifacts`."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    program = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(program, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        deadline = time.monotonic() + 60
        while True:
            try:
                assert httpx2.put(f"{url}/artifacts", timeout=5).status_code == 200
                break
            except httpx2.TransportError:
                assert time.monotonic() < deadline
                time.sleep(0.1)
        yield url
        server.terminate()
