"""The server answers whatever the OpenAPI document allows, and whatever it does not, as the document says.

Schemathesis makes the requests from `/openapi.json`: examples, the edges of every schema, random values, and walks
along the document's links, with all of its checks on: no 5xx, no status, header or body that is not told, nothing valid
refused, nothing invalid taken, no route open that asks for a credential. It finds new routes by itself.

Requests come from a fixed seed. RUNSTEAD_FUZZ_EXAMPLES=500 makes up to that many for each operation, at random, and
walks along links for as many seconds.

Nothing is left out. Held short are, as what would only wait: streams (see `config`), and `wait_seconds` (see
openapi_fuzz_hooks.py, which also tells the few refusals that no schema can foresee).
"""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "e2e"))

from server import PROJECT, Server, environment

DEEP = int(os.environ.get("RUNSTEAD_FUZZ_EXAMPLES", "0"))
EXAMPLES = DEEP or 10
WALK_S = DEEP or 20

#: Operations that Schemathesis does not call, and why.
LEFT_OUT = {"GET /openapi.json"}  # it has read the document there, and takes that for enough


def config(document, *, deterministic):
    """A stream of a run that nobody completes has no end: one is read until its first event, or for 0.3 s."""
    streams = [
        operation["operationId"]
        for path in document["paths"].values()
        for operation in path.values()
        if "text/event-stream" in operation["responses"].get("200", {}).get("content", {})
    ]
    assert streams
    return f"""
        request-timeout = 10
        continue-on-failure = true
        suppress-health-check = ["all"]

        [generation]
        max-examples = {EXAMPLES}
        deterministic = {str(deterministic).lower()}
        database = "none"
        with-security-parameters = false  # made-up credentials get 401 and no further; `ignored_auth` sends some

        [phases.stateful]
        max-steps = 10
        generation.max-examples = 50
        inference.algorithms = []  # the document's own links, and no guesses
        link-calibration = false

        [[operations]]
        include-operation-id = {json.dumps(streams)}
        request-timeout = 0.3
        max-stream-events = 1
        generation.max-examples = 5
    """


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz")
    server = Server(folder, folder / "fuzz.db").start()
    yield server
    server.kill()


class Schemathesis:
    """Runs against one server, and how often each "METHOD path status" was answered in all of them."""

    def __init__(self, server, folder):
        self.server, self.folder, self.tally = server, folder, Counter()
        with server.api() as api:
            self.document = api.get("/openapi.json")
            [key] = api.get(f"/projects/{PROJECT}/api-keys")["data"]
            settings = {
                "SCHEMATHESIS_HOOKS": "openapi_fuzz_hooks",
                "FUZZ_PROJECT": api.project_id(),
                "FUZZ_KEY_ID": key["id"],
                "FUZZ_TALLY": str(folder / "tally.json"),
            }
        self.environment = environment(**settings)
        paths = [str(Path(__file__).parent), self.environment.get("PYTHONPATH", "")]
        self.environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))

    def run(self, phases, *options, deterministic=False):
        """The report of a run that found nothing."""
        (self.folder / "schemathesis.toml").write_text(config(self.document, deterministic=deterministic))
        done = subprocess.run(
            [
                *(sys.executable, "-P", "-m", "schemathesis.cli", "run", f"{self.server.url}/openapi.json"),
                *("--phases", phases, "--checks", "all", "--mode", "all", "--no-color", *options),
                *("--header", f"Authorization: Bearer {self.server.key}"),
            ],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        report = done.stdout + done.stderr
        assert done.returncode == 0, report
        self.tally.update(json.loads((self.folder / "tally.json").read_text()))
        return report


@pytest.fixture(scope="module")
def schemathesis(server, tmp_path_factory):
    return Schemathesis(server, tmp_path_factory.mktemp("schemathesis"))


pytestmark = pytest.mark.timeout(240 + 60 * DEEP)


def test_every_answer_is_as_the_document_says(schemathesis):
    report = schemathesis.run("examples,coverage,fuzzing", deterministic=not DEEP)
    for phase in ("Examples", "Coverage", "Fuzzing"):
        assert re.search(f"✅ +{phase}", report), report


def test_every_answer_on_a_walk_along_the_links_is_as_the_document_says(schemathesis, server):
    seed = () if DEEP else ("--seed", "1")
    report = schemathesis.run("stateful", "--max-time", str(WALK_S), *seed)
    assert re.search("✅ +Stateful", report), report
    with server.api() as api:
        ended = api.get("/runs", status="completed", limit=100)["data"]
        assert any(run["attempt"] for run in ended), "nobody completed a run that was claimed"
        assert any(run["latest_event_id"] > 1 for run in ended), "nobody completed a run with events"


def test_every_operation_was_brought_to_success(schemathesis):
    paths = schemathesis.document["paths"]
    operations = {f"{method.upper()} {path}" for path, found in paths.items() for method in found}
    reached = {name.rpartition(" ")[0] for name in schemathesis.tally if re.search(" 2..$", name)}
    assert operations - reached == LEFT_OUT


def test_the_server_logged_no_error(schemathesis, server):
    assert sum(schemathesis.tally.values()) > 1_000
    assert [line for line in server.log.splitlines() if "error" in line.lower()] == []
