"""`runstead worker` as a process."""

import signal
import time
from contextlib import ExitStack

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from runstead.sdk import Client
from tests.support.server import KEY, runstead
from tests.support.until import until

from .program import JOBS, Program

TARGETS = ["task:count", "task:slow", "task:version", "agent:support"]


@pytest.fixture
def folder(tmp_path):
    found = tmp_path / "work"
    found.mkdir()
    (found / "jobs.py").write_text(JOBS)
    return found


@pytest.fixture
def serve(folder, new_server):
    """serve(url, …) starts the worker program, and returns when it serves."""
    made = []

    def start(url, *arguments, reference="jobs:app"):
        program = Program(folder, "worker", reference, "--url", url, *arguments, RUNSTEAD_KEY=KEY)
        made.append(program)
        program.wait_for_line("serves task:count" if reference == "jobs:app" else "serves")
        return program

    yield start
    for program in made:
        program.kill()


def ended(client, run_id, seconds=60):
    return until(lambda: (run := client.runs.get(run_id)).terminal and run, f"the end of {run_id}", seconds)


def test_an_app_is_served_and_the_worker_logs_its_targets(server, serve):
    with Client(server.url, KEY, project="default") as client:
        program = serve(server.url, "--concurrency", "3")
        line = program.wait_for_line("of project default serves")
        assert all(target in line for target in TARGETS)
        runs = [client.runs.create("task:count", config={"number": n}).run for n in range(8)]
        assert [ended(client, run.run_id).output for run in runs] == [n + 1 for n in range(8)]
        # An agent's run is claimed by a worker that serves the agent's name, with the run's implementation kind.
        conversation = client.conversations.create()
        run = client.runs.create(
            "agent:support",
            conversation_id=conversation.id,
            implementation_kind="python",
            input={"messages": []},
        ).run
        done = ended(client, run.run_id)
        assert (done.status, done.output) == ("completed", "support")
        (message,) = client.messages.list(conversation.id).data
        assert "Hello" in str(message.parts)
        program.signal()
        assert program.ended() == 0


def test_one_worker_serves_two_projects_of_a_user(new_server, folder):
    key = ed25519.Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    server = new_server(RUNSTEAD_JWT_PUBLIC_KEY=public).start()
    token = jwt.encode({"userId": "ada", "exp": int(time.time()) + 600}, key, "EdDSA")
    projects = ("shop", "blog")
    with server.api(token) as user:
        for slug in projects:
            user.post("/projects", {"slug": slug})
    worker = Program(
        folder,
        *("worker", "jobs:app", "--url", server.url, "--concurrency", "2"),
        *("--project", "shop", "--project", "blog"),
        RUNSTEAD_KEY=token,
    )
    try:
        with ExitStack() as stack:
            clients = [stack.enter_context(Client(server.url, token, project=slug)) for slug in projects]
            held = clients[0].runs.create("task:slow", config={"seconds": 60}).run
            until(
                lambda: clients[0].runs.get(held.run_id).status == "running",
                "the first project's run to run",
                20,
            )
            # The first project has more runs than the worker has slots. The other project's runs are claimed anyway.
            waiting = [clients[0].runs.create("task:slow", config={"seconds": 60}).run for _ in range(3)]
            runs = [clients[1].runs.create("task:count", config={"number": n}).run for n in range(4)]
            assert [ended(clients[1], run.run_id).output for run in runs] == [1, 2, 3, 4]
            for run in (held, *waiting):
                clients[0].runs.cancel(run.run_id)
            assert {run.project_id for run in runs} != {held.project_id}
        worker.signal()
        assert worker.ended() == 0
    finally:
        worker.kill()


def test_an_app_is_served_on_a_cluster(server, serve):
    pytest.importorskip("distributed")
    with Client(server.url, KEY, project="default") as client:
        program = serve(server.url, "--executor", "dask://local?workers=1")
        run = client.runs.create("task:count", config={"number": 1}).run
        assert ended(client, run.run_id).output == 2
        program.signal()
        assert program.ended() == 0


def test_a_stop_lets_runs_finish_and_a_second_stop_releases_them(server, serve, folder):
    with Client(server.url, KEY, project="default") as client:
        first = serve(server.url)
        short = client.runs.create("task:slow", config={"seconds": 0.7}).run
        until((folder / "done.txt").exists, "the run's start")
        first.signal()
        assert first.ended() == 0
        assert client.runs.get(short.run_id).output == "slow"

        (folder / "done.txt").unlink()
        second = serve(server.url)
        long = client.runs.create("task:slow", config={"seconds": 60}).run
        until((folder / "done.txt").exists, "the run's start")
        second.signal(signal.SIGINT)
        second.signal(signal.SIGINT) if second.wait_for_line("have 30.0 s to finish") else None
        assert second.ended(25) == 0
        given_back = client.runs.get(long.run_id)
        assert (given_back.status, given_back.attempt) == ("pending", 1)


def test_a_server_that_is_killed_twice_loses_and_repeats_no_completion(new_server, serve, folder):
    server = new_server().start()
    server.port = int(server.url.rpartition(":")[2])
    with Client(server.url, KEY, project="default") as client:
        made = [client.runs.create("task:count", config={"number": n}).run for n in range(60)]
        serve(server.url, "--concurrency", "8", "--lease-seconds", "60", "--wait-seconds", "2")
        for _ in range(2):
            time.sleep(0.25)
            server.restart()
        runs = [ended(client, run.run_id) for run in made]
    assert {run.status for run in runs} == {"completed"}
    assert [run.output for run in runs] == [n + 1 for n in range(60)]
    lines = (folder / "done.txt").read_text().splitlines()
    assert sorted(lines) == sorted(f"count {n}" for n in range(60))


def test_with_reload_a_changed_file_is_served(server, serve, folder):
    with Client(server.url, KEY, project="default") as client:
        program = serve(server.url, "--reload")
        run = client.runs.create("task:version").run
        assert ended(client, run.run_id).output == "one"
        (folder / "jobs.py").write_text(JOBS.replace('"one"', '"two"') + "\nraise ValueError('half-way')\n")
        program.wait_for_line("Importing jobs failed: ValueError: half-way")
        (folder / "jobs.py").write_text(JOBS.replace('"one"', '"two"'))
        until(lambda: sum("serves task:count" in line for line in program.lines) == 2, "a new worker")
        run = client.runs.create("task:version").run
        assert ended(client, run.run_id).output == "two"
        program.signal()
        assert program.ended() == 0


@pytest.mark.parametrize(
    ("reference", "sentence"),
    [
        ("jobs", "Write the app as module:app, such as jobs:app for the app in jobs.py, not 'jobs'"),
        ("nowhere:app", "There is no module 'nowhere' in "),
        ("jobs:apq", "The module jobs has no 'apq'; it has app"),
        (
            "jobs:not_an_app",
            "jobs:not_an_app has the type int, not App, and is not a function that returns a Worker",
        ),
        ("broken:app", "Importing broken failed: ModuleNotFoundError: No module named 'no_such_thing'"),
        ("wrong:app", "Importing wrong failed: invalid syntax (wrong.py, line 1)"),
        ("empty:app", "empty:app has no handlers: register a function with @app.task or another decorator"),
    ],
)
def test_a_reference_that_cannot_be_served_is_reported_in_one_sentence(
    folder, capsys, monkeypatch, reference, sentence
):
    from runstead.cli.shared.app_loader import LoadError, load

    (folder / "broken.py").write_text("import no_such_thing")
    (folder / "wrong.py").write_text("app = = 1")
    (folder / "empty.py").write_text("from runstead.sdk import App\napp = App()")
    monkeypatch.chdir(folder)
    monkeypatch.setattr("sys.path", [str(folder), *__import__("sys").path])
    for name in ("jobs", "broken", "wrong", "empty"):
        monkeypatch.delitem(__import__("sys").modules, name, raising=False)
    with pytest.raises(LoadError) as refused:
        load(reference)
    message = str(refused.value).replace(str(folder) + "/", "")
    assert message.startswith(sentence)


def test_the_command_refuses_with_that_sentence(folder):
    code, out, err = runstead("worker", "nowhere:app", cwd=folder, RUNSTEAD_KEY=KEY)
    assert (code, out) == (1, "")
    assert err.startswith("runstead: There is no module 'nowhere'")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("reference", "executor", "sentence"),
    [
        ("jobs:app", "spark://head:1", "An executor's address begins with ray:// or dask://"),
        ("jobs:app", "dask://nowhere", "A Dask scheduler's address is like"),
        ("jobs:note", "dask://local", "--executor needs an App, but jobs:note creates the worker itself"),
    ],
)
def test_an_invalid_executor_is_refused_in_one_sentence(folder, reference, executor, sentence):
    code, out, err = runstead("worker", reference, "--executor", executor, cwd=folder, RUNSTEAD_KEY=KEY)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err.startswith(f"runstead: {sentence}")


def test_a_key_that_the_server_does_not_know_is_refused_in_one_sentence(server, folder):
    code, _, err = runstead(
        "worker", "jobs:app", "--url", server.url, cwd=folder, RUNSTEAD_KEY="vf_x_" + "0" * 64
    )
    assert code == 1
    assert f"the server at {server.url} refused this worker" in err
    assert "Traceback" not in err
