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

#: Operations that no request made here brings to success, and why.
LEFT_OUT = {"GET /openapi.json": "Schemathesis has read the document there, and takes that for enough"}


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
    server = Server(folder, folder / "fuzz.db", RUNSTEAD_ALLOW_PRIVATE_EGRESS="1").start()
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
        self.tally.update(json.loads((self.folder / "tally.json").read_text()))
        assert done.returncode == 0, report
        return report


@pytest.fixture(scope="module")
def schemathesis(server, tmp_path_factory):
    return Schemathesis(server, tmp_path_factory.mktemp("schemathesis"))


pytestmark = pytest.mark.timeout(240 + 60 * DEEP)


def test_every_answer_is_as_the_document_says(schemathesis):
    report = schemathesis.run("examples,coverage,fuzzing", deterministic=not DEEP)
    for phase in ("Examples", "Coverage", "Fuzzing"):
        assert re.search(f"✅ +{phase}", report), report


def test_every_answer_on_a_walk_along_the_links_is_as_the_document_says(schemathesis):
    seed = () if DEEP else ("--seed", "1")
    report = schemathesis.run("stateful", "--max-time", str(WALK_S), *seed)
    assert re.search("✅ +Stateful", report), report
    walked, links = map(int, re.search(r"API Links: +(\d+) covered / (\d+) selected", report).groups())
    assert walked > links / 4


class Walk:
    """Calls operations by their ids, and takes what the next one needs from the links of the answer before."""

    def __init__(self, document, api):
        self.operations = {
            operation["operationId"]: (method, path, operation)
            for path, found in document["paths"].items()
            for method, operation in found.items()
        }
        self.http = api.http
        self.links, self.path, self.answer = {}, {}, None

    def call(self, name, body=None, **path):
        headers = {}
        if not path:
            for place, expression in self.links[name]["parameters"].items():
                kind, _, header = place.rpartition(".")
                (headers if kind == "header" else path)[header] = self.value_of(expression)
        method, template, operation = self.operations[name]
        response = self.http.request(method, template.format(**path), json=body, headers=headers)
        assert response.is_success, response.text
        told = operation["responses"][str(response.status_code)]
        self.links, self.path, self.answer = told.get("links", {}), path, response.json()
        return self.answer

    def value_of(self, expression):
        if expression.startswith("$request.path."):
            return self.path[expression.removeprefix("$request.path.")]
        value = self.answer
        for member in expression.removeprefix("$response.body#/").split("/"):
            value = value[member]
        return value


def test_the_links_lead_from_a_claim_to_a_completion(server):
    with server.api() as api:
        walk = Walk(api.get("/openapi.json"), api)
        made = api.create(api.project_id(), "task:linked")
        worker = walk.call(
            "register_worker", {"implementation_kind": "linked", "worker_key": "1"}, project=PROJECT
        )
        claimed = walk.call("claim_runs", {"targets": ["task:linked"]})
        assert claimed["run"]["run_id"] == made["run_id"]
        assert worker["worker"]["id"] == claimed["run"]["lease_owner"]
        found = walk.links, walk.path, walk.answer
        assert walk.call("append_events", {"events": [{"type": "CUSTOM"}]})["appended_count"] == 1
        walk.links, walk.path, walk.answer = found
        assert walk.call("renew_lease", {})["run"]["attempt"] == 1
        walk.links, walk.path, walk.answer = found
        done = walk.call("complete_run", {"status": "completed"})
        assert (done["completed"], done["run"]["run_id"]) == (True, made["run_id"])


def test_the_links_lead_from_a_creation_to_a_retry(server):
    with server.api() as api:
        walk = Walk(api.get("/openapi.json"), api)
        owner = {"kind": "project", "id": api.project_id()}
        body = {"kind": "task", "owner": owner, "request": {"target": "task:linked"}}
        first = api.post("/runs", body)
        api.complete(first["run"]["run_id"])
        made = walk.call("retry_run", run_id=first["run"]["run_id"])["run"]
        assert made["retry_of"] == first["run"]["run_id"]
        assert walk.call("cancel_run", {})["run"]["run_id"] == made["run_id"]


def test_every_operation_was_brought_to_success(schemathesis):
    paths = schemathesis.document["paths"]
    operations = {f"{method.upper()} {path}" for path, found in paths.items() for method in found}
    reached = {name.rpartition(" ")[0] for name in schemathesis.tally if re.search(" 2..$", name)}
    assert operations - reached == LEFT_OUT.keys()


def test_the_server_logged_no_error(schemathesis, server):
    assert sum(schemathesis.tally.values()) > 1_000
    assert [line for line in server.log.splitlines() if "error" in line.lower()] == []
