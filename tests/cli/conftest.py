"""`cli`: runs commands in this process, against a server over the memory engine that starts once."""

import asyncio
import io
import itertools
import json
import threading
from contextlib import redirect_stderr, redirect_stdout
from types import SimpleNamespace
from typing import NamedTuple

import pytest

from runstead.cli import main
from runstead.sdk import Client
from runstead.server.main import Main
from runstead.server.settings import load
from runstead.server.telemetry import log_to_stderr

KEY = "vf_testcli1_not-a-secret-but-long-enough-to-be-one"


class Screen(io.StringIO):
    """A terminal, or a pipe."""

    terminal = False

    def isatty(self):
        return self.terminal


class Result(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def lines(self):
        return self.out.splitlines()

    @property
    def json(self):
        assert (self.code, self.err) == (0, ""), self
        return json.loads(self.out)


class Cli:
    """cli("runs", "list", …, columns=80): runs a command. Without `columns`, its output is a pipe."""

    def __init__(self, monkeypatch, home):
        self.env, self.home, self.screen = monkeypatch, home, Screen()
        for name in ("URL", "KEY", "PROJECT", "PROFILE", "DATABASE_URL"):
            monkeypatch.delenv(f"RUNSTEAD_{name}", raising=False)
        monkeypatch.delenv("NO_COLOR", raising=False)
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("HOME", str(home))
        monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
        monkeypatch.chdir(home)

    def at(self, server):
        self.env.setenv("RUNSTEAD_URL", server.url)
        self.env.setenv("RUNSTEAD_KEY", server.key)
        return self

    def profile(self, text, mode=0o600):
        path = self.home / ".config/runstead/config.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        return path

    def typing(self, answer, *tokens):
        """Run a command in a terminal whose user types the answer."""
        return self(*tokens, stdin=answer, asks=True)

    def __call__(self, *tokens, columns=None, stdin="", asks=False):
        out, err = Screen(), Screen()
        out.terminal = columns is not None
        self.screen = out  # of the command that runs
        if columns:
            self.env.setenv("COLUMNS", str(columns))
        typed = Screen(stdin)
        typed.terminal = asks
        self.env.setattr("sys.stdin", typed)
        with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended:
            main([str(token) for token in tokens])
        return Result(ended.value.code or 0, out.getvalue(), err.getvalue())


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    settings = {"RUNSTEAD_BOOTSTRAP_KEY": KEY, "RUNSTEAD_ALLOW_PRIVATE_EGRESS": "true"}
    log_to_stderr()  # bound to the real stderr, before tests redirect it
    running = Main(
        load(settings, port=0, database=f"sqlite:///{tmp_path_factory.mktemp('cli')}/runs.db"), io.StringIO()
    )
    ready, loops = threading.Event(), []

    async def serve():
        loops.append(asyncio.get_running_loop())
        serving = asyncio.ensure_future(running.run())
        await asyncio.wait(
            [serving, asyncio.ensure_future(running.ready.wait())], return_when=asyncio.FIRST_COMPLETED
        )
        ready.set()
        await serving

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(60), "the server did not start"
    yield SimpleNamespace(url=running.url, key=KEY)
    loops[0].call_soon_threadsafe(running.stop)
    thread.join(60)
    assert not thread.is_alive(), "the server did not stop"


@pytest.fixture(scope="session")
def client(server):
    with Client(server.url, server.key, project="default") as one:
        yield one


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """The command line without a server."""
    return Cli(monkeypatch, tmp_path)


@pytest.fixture
def cli(bare, server):
    """The command line with the server's address and key in its environment."""
    return bare.at(server)


@pytest.fixture(scope="session")
def _numbers():
    return itertools.count(1)


@pytest.fixture
def fresh(client, _numbers):
    """fresh(): creates a project and returns its slug, id and admin key."""

    def make():
        slug = f"p{next(_numbers)}"
        made = client.projects.create(slug)
        return SimpleNamespace(slug=slug, key=made.api_key, id=made.id)

    return make


@pytest.fixture
def project(fresh, cli):
    """A new project, whose key the command line uses."""
    made = fresh()
    cli.env.setenv("RUNSTEAD_KEY", made.key)
    return made


@pytest.fixture
def project_client(project, server):
    """An SDK client of that project."""
    with Client(server.url, project.key, project=project.slug) as one:
        yield one
