"""The samples in the docs work unchanged: the walk-through, the programs, the JSON."""

import ast
import asyncio
import importlib
import inspect
import json
import os
import re
import runpy
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter

import msgspec
import pytest

import runstead.sdk
import runstead.testing
from runstead import App, AsyncClient, Client
from runstead.core.identity.project import key_prefix
from runstead.http.create_bodies import REQUESTS, new_run
from runstead.http.events import event_append
from tests.support.until import until

from .pages import blocks, files, name, text

# Every call's status goes into a file of its own, beside what the reader sees: two calls run at once.
NOTE_STATUS = """mkdir statuses
curl() { command curl -w '%{stderr}%{http_code}' "$@" 2> "$(mktemp statuses/XXXXXX)"; }
"""
PROGRAMS = [block for block in blocks("python") if not files(block.page)]  # test_guides.py runs files
ENDLESS = re.compile(r"Worker\(|push_services\.register\(")


def of(block):
    return f"{name(block.page)}:{block.text.strip().splitlines()[-1][:40]}"


def test_the_walk_through_answers_what_it_promises(server, environment, tmp_path):
    if shutil.which("curl") is None or shutil.which("bash") is None:
        pytest.skip("the walk-through needs bash and curl, which this machine does not have")
    (walk,) = [block.text for block in blocks("bash") if name(block.page) == "docs/http-walkthrough.md"]
    promised = re.findall(r"^# .*: (\d{3})$", walk, re.MULTILINE)
    assert len(promised) == walk.count("curl -s")
    (tmp_path / "key.txt").write_text(f"{server.key}\n")
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", NOTE_STATUS + server.fit(walk)],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    statuses = [file.read_text() for file in (tmp_path / "statuses").iterdir()]
    assert done.returncode == 0, (done.stderr, statuses)
    assert Counter(statuses) == Counter(promised), done.stdout
    frames = re.findall(r"id: (\d+)\nevent: (\w+)\n", done.stdout)
    assert frames == [("1", "StepStarted"), ("2", "StepFinished"), ("3", "RunFinished")]
    run = json.loads(done.stdout[done.stdout.rindex('{"run_id"') :])
    assert (run["status"], run["output"]) == ("completed", {"greeting": "Hello, Ada"})


def test_the_readmes_app_is_a_file_that_its_test_file_proves(server, environment, tmp_path):
    sources = files("README.md")
    assert list(sources) == ["orders.py", "start.py", "test_orders.py"]
    for file, source in sources.items():
        (tmp_path / file).write_text(source)

    def ran(*command):
        done = subprocess.run(
            [sys.executable, *command],
            env=environment | {"RUNSTEAD_URL": server.url, "RUNSTEAD_KEY": server.key},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, ""), done.stdout
        return done.stdout

    assert (
        ran("-c", "import orders; print(*orders.app.targets)") == "task:order\n"
    )  # a worker starts no testbed
    assert "1 passed" in ran(
        "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:asyncio", "test_orders.py"
    )
    (create,) = re.findall(r"^\$ runstead (runs create .*) --wait$", text("README.md"), re.MULTILINE)
    created = json.loads(ran("-m", "runstead.cli", *create.split(), "--json"))
    with Client(server.url, server.key, project="default") as client:
        assert client.runs.get(created["run"]["run_id"]).config == {"item": "tea"}
        starting = threading.Thread(
            target=lambda: (
                until(lambda: list(client.runs.list(target="task:order").data)[1:], "the start")
                and client.runs.complete("order-tea", output=7)
            )
        )
        starting.start()
        assert ran("start.py") == "RUN_FINISHED\n7\n"
        starting.join()


@pytest.fixture
def file(program, server, tmp_path):
    """The file of a program, with the key that it reads beside it."""
    (tmp_path / "key.txt").write_text(f"{server.key}\n")
    file = tmp_path / "program.py"
    file.write_text(server.fit(program.text))
    return file


ENDING = [program for program in PROGRAMS if not ENDLESS.search(program.text)]
#: A process has one tracer provider, and another test may have set it.
GLOBAL = [program for program in ENDING if "set_tracer_provider" in program.text]


@pytest.mark.parametrize("program", [one for one in ENDING if one not in GLOBAL], ids=of)
def test_a_program_runs(program, file, environment, monkeypatch, capsys):
    for word in os.environ.keys() - environment.keys():
        monkeypatch.delenv(word)
    for word, value in environment.items():
        monkeypatch.setenv(word, value)
    monkeypatch.chdir(file.parent)
    runpy.run_path(str(file), run_name="__main__")
    printed = capsys.readouterr()
    assert printed.out
    assert printed.err == ""


@pytest.mark.parametrize(
    "program",
    [pytest.param(one, marks=() if one in GLOBAL else pytest.mark.long, id=of(one)) for one in ENDING],
)
def test_a_program_runs_in_a_process_of_its_own(program, file, environment):
    done = subprocess.run(
        [sys.executable, "-P", str(file)],
        env=environment,
        cwd=file.parent,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize("program", [p for p in PROGRAMS if "Worker(" in p.text], ids=of)
def test_a_worker_works_until_it_is_stopped(program, server, environment, tmp_path):
    (target,) = re.findall(r'targets=\["([^"]+)"\]', program.text)
    with Client(server.url, server.key, project="default") as client:
        run = client.runs.create(target, input={"name": "Ada"}).run
        worker = subprocess.Popen(
            [sys.executable, "-P", "-c", server.fit(program.text)], env=environment, cwd=tmp_path
        )
        try:
            until = time.monotonic() + 60
            while not run.terminal and time.monotonic() < until:
                time.sleep(0.05)
                run = client.runs.get(run.run_id)
        finally:
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(60) == 0
    assert (run.status, run.output) == ("completed", {"greeting": "Hello, Ada"})


def test_a_push_service_gets_the_run_and_completes_it(server, environment, tmp_path):
    (program,) = [p.text for p in PROGRAMS if "push_services.register(" in p.text]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    service = subprocess.Popen(
        [sys.executable, "-u", "-P", "-c", server.fit(program).replace("9100", port)],
        env=environment,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert service.stdout.readline() == "registered: active\n"
        with Client(server.url, server.key, project="default") as client:
            conversation = client.conversations.create()
            run = client.runs.create(
                "agent:greeter", conversation_id=conversation.id, input={"messages": []}
            ).run
            until = time.monotonic() + 60
            while not run.terminal and time.monotonic() < until:
                time.sleep(0.05)
                run = client.runs.get(run.run_id)
        assert run.status == "completed"
    finally:
        service.kill()
        service.wait(60)


def docstring_examples():
    """Yield the indented code in the docstrings of what users import."""
    for module in (runstead, runstead.sdk, runstead.testing):
        for owner in (module, *(getattr(module, word) for word in module.__all__)):
            lines = inspect.cleandoc(owner.__doc__ or "").splitlines()
            code = "\n".join(line[4:] for line in lines if line.startswith("    "))
            if code:
                yield pytest.param(code, id=owner.__name__)


def test_the_docstrings_of_the_package_and_of_the_testbed_have_examples():
    assert {"runstead", "Testbed"} <= {param.id for param in docstring_examples()}


@pytest.mark.parametrize("example", {param.id: param for param in docstring_examples()}.values())
async def test_an_example_in_a_docstring_runs(example, server):
    app = App()

    @app.task("inventory")
    async def inventory(ctx, path):
        return {"files": 3}

    @app.task("sync-data")
    async def sync_data(ctx, url):
        await ctx.wait_for_approval("Replace the table?")
        return {"rows": 3}

    def run():
        code = compile(server.fit(example), "docstring", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        running = eval(code, {"app": app, "Testbed": runstead.testing.Testbed})
        if running is not None:
            asyncio.run(running)

    async with AsyncClient(server.url, server.key, project="default") as client:
        worker = app.worker(client, wait_seconds=1, grace_seconds=0)
        serving = asyncio.ensure_future(worker.serve())
        await asyncio.to_thread(run)
        worker.stop()
        await serving


@pytest.mark.parametrize("example", blocks("json"), ids=of)
def test_json_is_what_the_program_reads_and_writes(example):
    assert example.type, "say what it is in a comment above: <!-- type: http.runs.CompleteRun -->"
    module, _, shape = example.type.rpartition(".")
    shape = getattr(importlib.import_module(f"runstead.{module}"), shape)
    value = msgspec.json.decode(example.text.encode(), type=shape)
    documented = json.loads(example.text)
    assert documented.keys() <= set(shape.__struct_encode_fields__)
    again = json.loads(msgspec.json.encode(value))
    assert {member: again[member] for member in documented} == documented
    if example.type.endswith(".CreateRun"):
        new_run(value)
        assert documented["request"].keys() <= set(REQUESTS[documented["kind"]].__struct_encode_fields__)
    if example.type.endswith(".AppendEvents"):
        assert len(event_append(value, example.text.encode()).events) == len(documented["events"])


def test_commands_in_the_docs_exist(environment):
    targets = set(re.findall(r"^([\w-]+):", text("Makefile"), re.MULTILINE))
    lines = [line for block in blocks("console") for line in block.text.splitlines() if line.startswith("$ ")]
    made = {word for line in lines for word in re.findall(r"\bmake (\w[\w-]*)", line)}
    made |= set(re.findall(r"`make (\w[\w-]*)", text("CONTRIBUTING.md") + text("CHANGELOG.md")))
    assert {"demo", "serve", "test"} <= made <= targets
    (key_maker,) = [line.removeprefix("$ ") for line in lines if line.startswith("$ python3 -c")]
    done = subprocess.run(
        ["bash", "-c", key_maker], env=environment, capture_output=True, text=True, check=True
    )
    assert key_prefix(done.stdout.strip()) is not None
