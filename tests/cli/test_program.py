"""The program itself: pipes, terminals, signals and imports."""

import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

import runstead
from runstead.cli.commands import COMMANDS

PROGRAM = [sys.executable, "-P", "-m", "runstead.cli"]


@pytest.fixture
def environment(server, project, tmp_path):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RUNSTEAD_")}
    kept |= {"HOME": str(tmp_path), "PYTHONPATH": str(Path(runstead.__file__).parents[1])}
    return kept | {"RUNSTEAD_URL": server.url, "RUNSTEAD_KEY": project.key, "NO_PROXY": "127.0.0.1"}


def loaded_by(commands, heavy):
    """Run commands in a new process. Return the modules of `heavy` that they imported, and their output."""
    program = (
        "import sys\nfrom runstead.cli import main\n"
        f"for tokens in {commands!r}:\n"
        "    try:\n        main(tokens)\n"
        "    except SystemExit as end:\n        assert not end.code, tokens\n"
        f"print(*({heavy!r} & sys.modules.keys()), file=sys.stderr)\n"
    )
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RUNSTEAD_")}
    done = subprocess.run(
        [sys.executable, "-P", "-c", program],
        env=kept | {"PYTHONPATH": str(Path(runstead.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stderr.split()), done.stdout


SERVER = {
    "runstead.server.main",
    "runstead.http",
    "uvicorn",
    "starlette",
    "prometheus_client",
    "cryptography",
    "asyncpg",
}
CLIENT = {"runstead.sdk", "httpx2"}


def test_help_loads_no_more_than_it_needs():
    heavy = SERVER | CLIENT | {"cyclopts", "rich", "asyncio", "msgspec", "runstead.cli.runs"}
    loaded, output = loaded_by([["--help"]], heavy)
    assert loaded == set()
    assert all(f"\n  {name} " in output for name in COMMANDS)


def test_the_help_of_a_command_loads_neither_server_nor_client():
    loaded, output = loaded_by([[name, "--help"] for name in COMMANDS], SERVER | CLIENT)
    assert loaded == set()
    assert all(f"Usage: runstead {name}" in output for name in COMMANDS)


def test_commands_on_a_store_load_neither_server_nor_client(tmp_path):
    store = ["--database", f"sqlite:///{tmp_path / 'runstead.db'}"]
    commands = [["db", "migrate"], ["projects", "create", "shop"], ["projects", "list"], ["db", "check"]]
    commands += [["keys", done, "--project", "shop"] for done in ("create", "list")]
    loaded, output = loaded_by([[*tokens, *store] for tokens in commands], SERVER | CLIENT)
    assert loaded == set()
    assert "vf_" in output


def test_the_fast_help_equals_the_full_help(capsys):
    from runstead.cli.app import app
    from runstead.cli.commands import overview

    app(["--help"], result_action="return_none")
    full = capsys.readouterr().out
    assert " ".join(overview().split()) == " ".join(full.split())


def test_a_closed_pipe_ends_without_an_error(environment, project_client):
    project_client.runs.complete(
        project_client.runs.create("task:t", id="long").run.run_id, logs="line\n" * 100_000
    )
    line = f"{' '.join(PROGRAM)} runs logs long | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", line], env=environment, capture_output=True, text=True, timeout=90, check=False
    )
    assert done.stdout.splitlines() == ["line", "141"]
    assert done.stderr == ""


def test_a_terminal_shows_the_bar_and_ctrl_c_ends_quietly(environment, project_client):
    batch = project_client.batches.create([{"kind": "task", "request": {"target": "task:t"}}] * 4).batch.id
    for run in list(project_client.runs.iter(batch_id=batch))[:2]:
        project_client.runs.complete(run.run_id)
    main, other = pty.openpty()
    fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 60, 0, 0))
    environment.pop("COLUMNS", None)
    watching = subprocess.Popen(
        [*PROGRAM, "batches", "watch", batch],
        env=environment | {"TERM": "xterm"},
        stdout=other,
        stderr=subprocess.PIPE,
        start_new_session=True,
        # A background process inherits an ignored SIGINT; a terminal does not.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )
    os.close(other)
    shown = ""
    until = time.monotonic() + 60
    while "50% 2/4" not in shown and time.monotonic() < until:
        shown += os.read(main, 4_096).decode()
    assert shown.startswith("\r\x1b[K[█")
    assert max(map(len, shown.replace("\x1b[K", "").split("\r"))) < 60
    watching.send_signal(signal.SIGINT)
    assert watching.wait(60) == 130
    assert watching.stderr.read() == b""
    watching.stderr.close()
    os.close(main)
    assert project_client.batches.get(batch).status == "running"


def test_unsupported_characters_are_escaped(environment, project_client):
    project_client.runs.create("task:t", title="Grüße 日本")
    done = subprocess.run(
        [*PROGRAM, "runs", "list"],
        env=environment | {"PYTHONIOENCODING": "ascii"},
        capture_output=True,
        timeout=90,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"Gr\\xfc\\xdfe" in done.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_names_commands_and_options(cli, shell):
    done = cli("completion", shell)
    assert (done.code, done.err) == (0, "")
    for word in ("schedules", "upcoming", "tool-call-id"):
        assert word in done.out
    if shell == "bash":
        checked = subprocess.run(["bash", "-n"], input=done.out, text=True, capture_output=True, check=False)
        assert (checked.returncode, checked.stderr) == (0, "")
    assert cli("completion", "tcsh").code == 2
