"""What can be checked of deploy/Dockerfile without a registry of images. docs/deployment/README.md names the rest."""

import json
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from runstead.server.settings import load

from .proxies import DEPLOY

ROOT = DEPLOY.parent
TEXT = (DEPLOY / "Dockerfile").read_text().replace("\\\n", "")


@pytest.fixture(params=[200, 503])
def probed(request):
    """A server with this status on every path: its port, the status and the paths that were asked for."""
    paths = []

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self):
            paths.append(self.path)
            self.send_response(request.param)
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1], request.param, paths
        server.shutdown()


def test_the_health_check_succeeds_only_while_the_server_answers(probed):
    port, status, paths = probed
    program, *arguments = json.loads(re.search(r"^HEALTHCHECK .* CMD (\[.*\])$", TEXT, re.MULTILINE)[1])
    assert program == "python3", "no shell, no curl"
    command = [sys.executable, *(each.replace(":8720/", f":{port}/") for each in arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert paths == ["/healthz"]
    assert (done.returncode == 0) == (status == 200), done.stderr


def test_the_image_installs_packages_by_hash_alone_and_from_files_of_the_tree():
    installs = re.findall(r"pip install ([^&\n]+)", TEXT)
    assert len(installs) == 3
    assert all("--require-hashes" in each or "--no-deps /tmp/dist/" in each for each in installs)
    kept = re.findall(r"^!(\S+)", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    assert all((ROOT / path).exists() for path in kept)
    copied = re.findall(r"requirements/\w+\.txt", TEXT)
    assert copied
    assert all((ROOT / path).exists() for path in copied)
    assert "requirements" in kept


def test_the_server_in_the_image_is_no_root_and_writes_to_its_volume():
    final = TEXT[TEXT.rindex("\nFROM ") :]
    user = re.search(r"^USER (\d+):(\d+)$", final, re.MULTILINE)
    assert f"--gid {user[2]} " in final
    assert f"--uid {user[1]} " in final
    settings = load(dict(re.findall(r"(RUNSTEAD_\w+)=(\S+)", final)))
    volume = re.search(r"^VOLUME (\S+)$", final, re.MULTILINE)[1]
    assert settings.database_url.startswith(f"sqlite:///{volume}/")
    assert settings.host == "0.0.0.0"
    assert f"EXPOSE {settings.port}\n" in final
