"""The server answers valid and invalid requests as the OpenAPI document describes.

Schemathesis generates the requests from `/openapi.json`: examples, boundary values of every schema, random values, and
walks along the document's links. All its checks are on: no 5xx, no undocumented status, header or body, no refused valid
request, no accepted invalid request, and no route without its required credential. It finds new routes itself.

Requests have a fixed seed. With RUNSTEAD_FUZZ_EXAMPLES=500 each operation gets up to 500 random requests, and the walks
take as many seconds; `make test-long` uses 25, and runs on PostgreSQL too. On PostgreSQL `make test` runs
tests/http/test_bad_input.py instead.

No operation is left out. Only waiting is shortened: streams (see `config`) and `wait_seconds` (see
openapi_fuzz_hooks.py, which also lists the refusals that a schema cannot describe).
"""

import json
import os
import re
import subprocess
import sys
import uuid
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.server import PROJECT, environment
from tests.support.until import until

DEEP = int(os.environ.get("RUNSTEAD_FUZZ_EXAMPLES", "0"))
ENGINES = ("sqlite", pytest.param("postgres", marks=pytest.mark.long))
EXAMPLES = {"sqlite": DEEP or 3, "postgres": DEEP or 3}
WALK_S = {"sqlite": DEEP or 8, "postgres": DEEP or 8}
#: So many times more random requests are sent to operations that none has completed successfully.
ROUNDS = 4
#: Invalid requests are refused before the store is called. tests/http/test_bad_input.py sends them in `make test`, and
#: Schemathesis in `make test-long`, where they take as long as all valid ones.
MODES = dict.fromkeys(("sqlite", "postgres"), "all" if DEEP else "positive")
SETTINGS = {"RUNSTEAD_ALLOW_PRIVATE_EGRESS": "1"}

#: Operations that no generated request completes successfully, and why.
LEFT_OUT = {"GET /openapi.json": "Schemathesis reads the document there, and does not request it again"}
#: They need the bytes of a file and a running run: tests/http/test_artifacts.py stores and reads artifacts.
LEFT_OUT |= dict.fromkeys(
    ("PUT /runs/{run_id}/artifacts/{name}", "GET /runs/{run_id}/artifacts/{name}"), "bytes"
)
#: It needs a form with a secret field that was answered, and a lease: tests/http/test_input_secrets.py reads them.
LEFT_OUT["POST /runs/{run_id}/input-requests/{input_request_id}/secrets"] = "an answered form and a lease"
#: It needs a worker that is still registered: tests/http/test_worker_channel.py follows its hints.
LEFT_OUT["GET /agent-workers/workers/{worker_id}/channel"] = "a registered worker"


def config(document, examples, *, deterministic):
    """Return the configuration. The stream of a run that has not ended has no end: it is read to its first event, or for 1 s."""
    streams = [
        operation["operationId"]
        for path in document["paths"].values()
        for operation in path.values()
        if "text/event-stream" in operation["responses"].get("200", {}).get("content", {})
    ]
    assert streams
    return f"""
        request-timeout = 60
        continue-on-failure = true
        suppress-health-check = ["all"]

        [generation]
        max-examples = {examples}
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
        request-timeout = 1.0
        max-stream-events = 1
        generation.max-examples = 5
    """


class Schemathesis:
    """Runs of Schemathesis with one server, and the counts of each "METHOD path status"."""

    def __init__(self, server, engine, folder):
        self.server, self.engine, self.folder, self.tally = server, engine, folder, Counter()
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
        """Run Schemathesis, and return the report. Fail where it found a failure."""
        settings = config(self.document, EXAMPLES[self.engine], deterministic=deterministic)
        (self.folder / "schemathesis.toml").write_text(settings)
        done = subprocess.run(
            [
                *(sys.executable, "-P", "-m", "schemathesis.cli", "run", f"{self.server.url}/openapi.json"),
                *(
                    "--phases",
                    phases,
                    "--checks",
                    "all",
                    "--mode",
                    MODES[self.engine],
                    "--no-color",
                    *options,
                ),
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
def schemathesis(server, engine, tmp_path_factory):
    return Schemathesis(server, engine, tmp_path_factory.mktemp("schemathesis"))


@pytest.fixture(scope="module")
def requests(schemathesis):
    """The report of requests to each single operation."""
    return schemathesis.run("examples,coverage,fuzzing", deterministic=not DEEP)


@pytest.fixture(scope="module")
def walks(schemathesis):
    """The report of walks along links."""
    seed = () if DEEP else ("--seed", "1")
    return schemathesis.run("stateful", "--max-time", str(WALK_S[schemathesis.engine]), *seed)


pytestmark = pytest.mark.timeout(600 + 60 * DEEP)


def test_every_answer_is_as_the_document_says(requests):
    for phase in ("Examples", "Coverage", "Fuzzing"):
        assert re.search(f"✅ +{phase}", requests), requests


def test_every_answer_on_a_walk_along_the_links_is_as_the_document_says(walks):
    assert re.search("✅ +Stateful", walks), walks
    # The number of walks depends on the machine's speed.
    assert int(re.search(r"API Links: +(\d+) covered", walks)[1]) > 0


class Walk:
    """Calls operations by id, with values from the links of the previous answer."""

    def __init__(self, document, api):
        self.operations = {
            operation["operationId"]: (method, path, operation)
            for path, found in document["paths"].items()
            for method, operation in found.items()
        }
        self.http = api.http
        self.links, self.path, self.answer = {}, {}, None
        self.made = set()

    def call(self, name, body=None, **path):
        headers = {}
        if not path:
            for place, expression in self.links[name]["parameters"].items():
                kind, _, header = place.rpartition(".")
                (headers if kind == "header" else path)[header] = self.value_of(expression)
        method, template, operation = self.operations[name]
        response = self.http.request(method, template.format(**path), json=body, headers=headers)
        assert response.is_success, response.text
        self.made.add(f"{method.upper()} {template}")
        response_object = operation["responses"][str(response.status_code)]
        self.links, self.path, self.answer = response_object.get("links", {}), path, response.json()
        return self.answer

    def value_of(self, expression):
        if expression.startswith("$request.path."):
            return self.path[expression.removeprefix("$request.path.")]
        value = self.answer
        for member in expression.removeprefix("$response.body#/").split("/"):
            value = value[member]
        return value


@contextmanager
def apart(server):
    """A client and the id of a new project, without the objects and limits that random requests created elsewhere."""
    with server.api() as api:
        made = api.post("/projects", {"slug": f"apart-{uuid.uuid4()}"})
    with server.api(made["api_key"]) as api:
        # The random requests sent so many unknown keys that this address waits for the look-up of a new one.
        until(lambda: api.http.get("/runs").status_code != 429, "the new key to be looked up")
        yield api, made["id"]


def test_the_links_lead_from_a_claim_to_a_completion(server):
    with apart(server) as (api, project):
        walk = Walk(api.get("/openapi.json"), api)
        made = api.create(project, "task:linked")
        worker = walk.call(
            "register_worker", {"implementation_kind": "linked", "worker_key": "1"}, project=project
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
    with apart(server) as (api, project):
        walk = Walk(api.get("/openapi.json"), api)
        owner = {"kind": "project", "id": project}
        body = {"kind": "task", "owner": owner, "request": {"target": "task:linked"}}
        first = api.post("/runs", body)
        api.complete(first["run"]["run_id"])
        made = walk.call("retry_run", run_id=first["run"]["run_id"])["run"]
        assert made["retry_of"] == first["run"]["run_id"]
        assert walk.call("cancel_run", {})["run"]["run_id"] == made["run_id"]


def what_needs_a_lease(server):
    """Return the operations that need a lease to succeed. Random requests often come after the lease has ended."""
    made = set()
    for name in (
        *("append_events", "renew_lease", "heartbeat_run", "put_session", "release_run", "wait_run"),
        "register_compensation",
    ):
        with apart(server) as (api, project):
            walk = Walk(api.get("/openapi.json"), api)
            api.create(project, f"task:{name}")
            walk.call("register_worker", {"implementation_kind": "lease", "worker_key": "1"}, project=project)
            attempt = walk.call("claim_runs", {"targets": [f"task:{name}"]})["run"]["attempt"]
            walk.call(name, {"attempt": attempt} | BODIES.get(name, {}))
            if name == "wait_run":  # only a waiting run can be resumed
                walk.call("resume_run", {"type": "event"}, run_id=walk.path["run_id"])
            made |= walk.made
    return made


def what_needs_an_alert(server):
    """Return the operations of one alert. Random bodies seldom are a rule that one can have."""
    with apart(server) as (api, project):
        walk = Walk(api.get("/openapi.json"), api)
        walk.call(
            "create_alert", {"kind": "pending_age", "target": "task:linked", "threshold": 1}, project=project
        )
        made = walk.links, walk.path, walk.answer
        for name, body in (("mute_alert", {}), ("unmute_alert", None)):
            walk.links, walk.path, walk.answer = made
            walk.call(name, body)
    return walk.made


BODIES = {
    "register_compensation": {"target": "task:undo"},
    "append_events": {"events": [{"type": "CUSTOM"}]},
    "put_session": {"session_key": "s"},
    "wait_run": {"reason": "event"},
}


@pytest.mark.usefixtures("requests", "walks")
def test_every_operation_was_brought_to_success(schemathesis, server):
    paths = schemathesis.document["paths"]
    ids = {
        f"{method.upper()} {path}": operation["operationId"]
        for path, found in paths.items()
        for method, operation in found.items()
    }
    done = what_needs_a_lease(server) | what_needs_an_alert(server) | LEFT_OUT.keys()
    ids = {name: ids[name] for name in ids.keys() - done}

    def missing():
        succeeded = {name.rpartition(" ")[0] for name in schemathesis.tally if re.search(" 2..$", name)}
        return ids.keys() - succeeded

    # What the walks reach depends on the machine's speed: a slow one sends more to what is missing, and walks longer.
    for seed in range(2, 2 + ROUNDS):
        if chosen := missing():
            include = [option for name in chosen for option in ("--include-operation-id", ids[name])]
            schemathesis.run("fuzzing", "--max-examples", "25", "--seed", str(seed), *include)
        if missing():
            schemathesis.run("stateful", "--max-time", "30", "--seed", str(seed))
    assert missing() == set()


@pytest.mark.usefixtures("requests", "walks")
def test_the_server_logged_no_error(schemathesis, server):
    assert sum(schemathesis.tally.values()) > 1_000
    assert [line for line in server.log.splitlines() if "error" in line.lower()] == []
