"""Each symptom of docs/troubleshooting.md is made, and its commands show what the page shows."""

import re
import shutil
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace

import pytest

from runstead.cli import server_checks
from tests.docs.pages import blocks, name, section, text
from tests.support.until import until

PAGE = "docs/troubleshooting.md"


def pending(cli, client):
    run_id = client.runs.create("task:report", available_at="2030-01-01T00:00:00Z").run.run_id
    assert cli("limits", "set", "task:report", 0).code == 0
    return {"RUN": run_id}


def claimed(cli, client, **request):
    run_id = client.runs.create("task:report", **request).run.run_id
    worker_id = client.workers.register("python", "host-7").worker.id
    assert client.workers.claim(worker_id, targets=["task:report"], lease_duration_seconds=300).run
    return {"RUN": run_id, "WORKER": worker_id}


def blocked(cli, client):
    run_id = client.runs.create("task:report").run.run_id
    found = "blocked: step 2 is 'charge' in the log, and 'pay' in the code (app.py:41)"
    client.runs.wait(run_id, "event", tool_call_id="blocked:1", tool_name=found)
    return {"RUN": run_id}


def waiting(cli, client):
    run_id = client.runs.create("task:report").run.run_id
    client.runs.wait(run_id, "approval", tool_call_id="approval:2", tool_name="Refund 120?")
    return {"RUN": run_id}


def exhausted(cli, client):
    ids = claimed(cli, client, backoff_limit=0)
    client.workers.release(ids["WORKER"], ids["RUN"], error={"message": "worker shut down"})
    return ids


def misnamed(cli, client):
    client.runs.create("task:reports")
    client.workers.register("python", "host-7")
    return {}


def refused(cli, client):
    cli.env.setenv("RUNSTEAD_KEY", "vf_unknown1_not-the-key-of-any-project-of-this-server")
    return {}


def full(cli, client):
    cli.env.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(total=1, used=1, free=0))
    return {}


def gone(cli, client):
    with receiver(410) as url:
        webhook_id = client.webhooks.create(url, ["run.completed"]).webhook.id
        run_id = client.runs.create("task:report").run.run_id
        client.runs.complete(run_id)
        until(lambda: client.webhooks.list().data[0].disabled_reason, "the webhook to be disabled")
    (delivery,) = client.webhooks.list_deliveries(webhook_id).data
    return {"WEBHOOK": webhook_id, "DELIVERY": delivery.id}


def paused(cli, client):
    made = cli("schedules", "create", "task:report", "--name", "Nightly", "--cron", "0 2 * * *")
    assert cli("schedules", "pause", made.out.strip()).code == 0
    return {}


def skewed(cli, client):
    cli.env.setattr(server_checks, "time", SimpleNamespace(time=lambda: time.time() - 90))
    return {}


def misplaced(cli, client):
    cli.env.setenv("RUNSTEAD_DATABASE_URL", "sqlite:////nowhere/runstead.db")
    return {}


SYMPTOMS = {
    "A run stays pending": pending,
    "A run is running though its worker died": claimed,
    "A run is blocked": blocked,
    "A run waits and does not continue": waiting,
    "A run failed after lost attempts": exhausted,
    "A worker claims nothing": misnamed,
    "A request is refused": refused,
    "The disk is full": full,
    "A webhook does not arrive": gone,
    "A schedule does not start a run": paused,
    "Clocks differ": skewed,
    "The server does not start": misplaced,
}


@contextmanager
def receiver(status):
    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


def commands(part):
    """Yield the words of each command of a section, and the lines that it shows."""
    for block in re.findall(r"^```console\n(.*?)^```$", part, re.DOTALL | re.MULTILINE):
        for shown in re.split(r"^\$ runstead ", block, flags=re.MULTILINE)[1:]:
            command, *lines = shown.splitlines()
            yield command.split(), lines


def plain(line):
    return " ".join(line.split())


def test_every_symptom_with_a_command_is_made():
    headings = re.findall(r"^## (.+)$", text(PAGE), re.MULTILINE)
    assert [each for each in headings if any(commands(section(PAGE, f"## {each}")))] == list(SYMPTOMS)
    shells = [block for block in blocks("console") if name(block.page) == PAGE]
    assert all(line.startswith(("$ runstead ", "")) for block in shells for line in block.text.splitlines())


@pytest.mark.parametrize("symptom", SYMPTOMS)
def test_the_commands_of_a_symptom_show_what_the_page_shows(symptom, cli, project_client):
    ids = SYMPTOMS[symptom](cli, project_client)
    shows = []
    for words, lines in commands(section(PAGE, f"## {symptom}")):
        done = cli(*(ids.get(word, word) for word in words))
        assert words == ["doctor"] or done.code == 0, done
        printed = iter(plain(line) for line in (done.out + done.err).splitlines())
        for line in lines:  # in this order, with others between them
            pattern = re.escape(plain(line)).replace("…", ".*")
            assert any(re.match(pattern, one) for one in printed), (words, line, done)
        shows += lines
    assert shows
