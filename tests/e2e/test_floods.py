"""Clients that try to block the whole server, in other processes."""

import os
import resource
import socket
import subprocess
import sys
import time
from contextlib import ExitStack

import httpx2

from tests.support.server import processor_s

HEADER = """
import socket, sys
left = 60 * 1024 * 1024
while left > 0:
    with socket.create_connection((sys.argv[1], int(sys.argv[2]))) as one:
        try:
            one.sendall(b"GET /healthz HTTP/1.1\\r\\nhost: a\\r\\nx: ")
            while left > 0:
                one.sendall(b"a" * 65536)
                left -= 65536
        except OSError:
            pass
"""


def test_sixty_mebibytes_of_headers_cost_the_server_no_more_than_their_senders(server):
    """Measured by processor time, so that it does not matter what else the machine does."""
    url = httpx2.URL(server.url)
    attack = [sys.executable, "-c", HEADER, url.host, str(url.port)]

    def ratio():
        """The server's time by that of four senders, while others are answered."""
        before, served = os.times(), processor_s(server.process)
        senders = [subprocess.Popen(attack) for _ in range(4)]
        with httpx2.Client(base_url=server.url, timeout=60) as caller:
            while any(one.poll() is None for one in senders):
                assert caller.get("/healthz").status_code == 200
                time.sleep(0.02)
        after, served = os.times(), processor_s(server.process) - served
        return served / (
            after.children_user + after.children_system - before.children_user - before.children_system
        )

    # About 1. It is about 10 if such headers are parsed to their end.
    assert min(ratio() for _ in range(2)) < 4


def test_silent_connections_that_use_every_file_lock_no_client_out(new_server):
    def few_files():
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))

    server = new_server(preexec=few_files).start()
    url = httpx2.URL(server.url)
    with ExitStack() as silent, server.api() as api:
        project = api.project_id()
        for _ in range(280):
            silent.enter_context(socket.create_connection((url.host, url.port), timeout=60))
        for _ in range(20):
            with httpx2.Client(base_url=server.url, timeout=60) as client:
                assert client.get("/healthz").status_code == 200
                assert client.get("/metrics").status_code == 200
        api.create(project)
    assert server.terminate() == 0
