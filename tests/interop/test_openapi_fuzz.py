"""The server answers whatever the OpenAPI document allows, and whatever it does not, as the document says.

Schemathesis makes the requests from `/openapi.json`: examples, the edges of every schema, random values, and walks
along the document's links, with all of its checks on: no 5xx, no status, header or body that is not told, nothing valid
refused, nothing invalid taken, no route open that asks for a credential. It finds new routes by itself.

Requests come from a fixed seed. RUNSTEAD_FUZZ_EXAMPLES=500 makes up to that many for each operation, at random, and
walks along links for as many seconds: `make test-long` makes 25. It alone asks PostgreSQL too, to which `make test` brings
what is in tests/http/test_bad_input.py.

Nothing is left out. Held short are, as what would only wait: streams (see `config`), and `wait_seconds` (see
openapi_fuzz_hooks.py, which also tells the few refusals that no schema can foresee).
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

DEEP = int(os.environ.get("RUNSTEAD_FUZZ_EXAMPLES", "0"))
ENGINES = ("sqlite", pytest.param("postgres", marks=pytest.mark.long))
EXAMPLES = {"sqlite": DEEP or 5, "postgres": DEEP or 3}
WALK_S = {"sqlite": DEEP or 10, "postgres": DEEP or 8}
#: What is refused before a store is asked is refused for both.
MODES = {"sqlite": "all", "postgres": "all" if DEEP else "positive"}
SETTINGS = {"RUNSTEAD_ALLOW_PRIVATE_EGRESS": "1"}

#: Operations that no request made here brings to success, and why.
LEFT_OUT = {"GET /openapi.json": "Schemathesis has read the document there, and takes that for enough"}
#: The bytes of a file, for a run that is under way: tests/http/test_artifacts.py stores and reads some.
LEFT_OUT |= dict.fromkeys(
    ("PUT /runs/{run_id}/artifacts/{name}", "GET /runs/{run_id}/artifacts/{name}"), "bytes"
)


def config(document, examples, *, deterministic):
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
        request-timeout = 0.3
        max-stream-events = 1
        generation.max-examples = 5
    """


class Schemathesis:
    """Runs against one server, and how often each "METHOD path status" was answered in all of them."""

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
        """The report of a run that found nothing."""
        told = config(self.document, EXAMPLES[self.engine], deterministic=deterministic)
        (self.folder / "schemathesis.toml").write_text(told)
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
    """The report of requests to each operation by itself."""
    return schemathesis.run("examples,coverage,fuzzing", deterministic=not DEEP)


@pytest.fixture(scope="module")
def walks(schemathesis):
    """The report of walks along links."""
    seed = () if DEEP else ("--seed", "1")
    return schemathesis.run("stateful", "--max-time", str(WALK_S[schemathesis.engine]), *seed)


pytestmark = pytest.mark.timeout(240 + 60 * DEEP)


def test_every_answer_is_as_the_document_says(requests):
    for phase in ("Examples", "Coverage", "Fuzzing"):
        assert re.search(f"✅ +{phase}", requests), requests


def test_every_answer_on_a_walk_along_the_links_is_as_the_document_says(walks):
    assert re.search("✅ +Stateful", walks), walks
    # How many there is time for depends on the machine.
    assert int(re.search(r"API Links: +(\d+) covered", walks)[1]) > 0


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


@contextmanager
def apart(server):
    """An API whose key is of a project of its own: what random requests left in theirs, a limit for one, is not there.
    The project's id comes with it.
    """
    with server.api() as api:
        made = api.post("/projects", {"slug": f"apart-{uuid.uuid4()}"})
    with server.api(made["api_key"]) as api:
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
    """The operations that take the holder of a run to succeed: random requests come too late as often as not."""
    made = set()
    for name in ("append_events", "renew_lease", "heartbeat_run", "put_session", "release_run", "wait_run"):
        with apart(server) as (api, project):
            walk = Walk(api.get("/openapi.json"), api)
            api.create(project, f"task:{name}")
            walk.call("register_worker", {"implementation_kind": "lease", "worker_key": "1"}, project=project)
            attempt = walk.call("claim_runs", {"targets": [f"task:{name}"]})["run"]["attempt"]
            walk.call(name, {"attempt": attempt} | BODIES.get(name, {}))
            if name == "wait_run":  # and only a run that waits is resumed
                walk.call("resume_run", {"type": "event"}, run_id=walk.path["run_id"])
            made |= walk.made
    return made


BODIES = {
    "append_events": {"events": [{"type": "CUSTOM"}]},
    "put_session": {"session_key": "s"},
    "wait_run": {"reason": "event"},
}


@pytest.mark.usefixtures("requests", "walks")
def test_every_operation_was_brought_to_success(schemathesis, server):
    paths = schemathesis.document["paths"]
    operations = {f"{method.upper()} {path}" for path, found in paths.items() for method in found}
    reached = {name.rpartition(" ")[0] for name in schemathesis.tally if re.search(" 2..$", name)}
    assert operations - reached - what_needs_a_lease(server) <= LEFT_OUT.keys()


@pytest.mark.usefixtures("requests", "walks")
def test_the_server_logged_no_error(schemathesis, server):
    assert sum(schemathesis.tally.values()) > 1_000
    assert [line for line in server.log.splitlines() if "error" in line.lower()] == []
