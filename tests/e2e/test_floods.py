"""Clients that try to block the whole server, in other processes."""

import http.client
import resource
import socket
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack

import httpx2

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


def test_sixty_mebibytes_of_headers_delay_no_other_caller(server):
    url = httpx2.URL(server.url)
    caller = http.client.HTTPConnection(url.host, url.port, timeout=60)

    def took():
        began = time.perf_counter()
        caller.request("GET", "/healthz")
        assert caller.getresponse().read() == b'{"status":"ok"}'
        return time.perf_counter() - began

    def longest():
        """Return the longest time of an answer while four such headers are sent at once."""
        attack = [sys.executable, "-c", HEADER, url.host, str(url.port)]
        attackers = [subprocess.Popen(attack) for _ in range(4)]
        worst = 0.0
        while any(one.poll() is None for one in attackers):
            worst = max(worst, took())
        return worst

    quiet = statistics.median(took() for _ in range(300))
    # It would take seconds if such headers were parsed to their end. The best of three, because the machine is busy.
    assert min(longest() for _ in range(3)) < 500 * quiet


def test_silent_connections_that_use_every_file_lock_no_client_out(new_server):
    def few_files():
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))

    server = new_server(preexec=few_files).start()
    url = httpx2.URL(server.url)
    with ExitStack() as silent, server.api() as api:
        project = api.project_id()
        for _ in range(280):
            silent.enter_context(socket.create_connection((url.host, url.port), timeout=10))
        for _ in range(20):
            with httpx2.Client(base_url=server.url, timeout=10) as client:
                assert client.get("/healthz").status_code == 200
                assert client.get("/metrics").status_code == 200
        api.create(project)
    assert server.terminate() == 0
