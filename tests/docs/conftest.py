"""Makes `pages` importable, and starts one real server for all snippets."""

import asyncio
import io
import os
import secrets
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

import runstead
from runstead.server.main import Main
from runstead.server.settings import load

URL_IN_DOCS, KEY_IN_DOCS = "http://127.0.0.1:8720", "vf_local_YOUR-KEY"


@pytest.fixture(scope="session")
def server():
    with started({"RUNSTEAD_ALLOW_PRIVATE_EGRESS": "true"}) as server:
        yield server


@contextmanager
def started(settings, database=None):
    """A server on a database, or on a fresh SQLite file. `fit` puts its address and its key into a snippet."""
    with tempfile.TemporaryDirectory() as folder:
        yield from _started(settings, database or f"sqlite:///{folder}/runstead.db")


def _started(settings, database):
    key = f"vf_local_{secrets.token_hex(32)}"
    settings = {"RUNSTEAD_BOOTSTRAP_KEY": key, **settings}
    main = Main(load(settings, port=0, database=database), io.StringIO())
    ready, loops = threading.Event(), []

    async def serve():
        loops.append(asyncio.get_running_loop())
        running = asyncio.ensure_future(main.run())
        await asyncio.wait(
            [running, asyncio.ensure_future(main.ready.wait())], return_when=asyncio.FIRST_COMPLETED
        )
        ready.set()
        await running

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(60), "the server did not start"

    def fit(snippet):
        return snippet.replace(URL_IN_DOCS, main.url).replace(KEY_IN_DOCS, key)

    yield SimpleNamespace(url=main.url, key=key, fit=fit)
    loops[0].call_soon_threadsafe(main.stop)
    thread.join(60)
    assert not thread.is_alive(), "the server did not stop"


@pytest.fixture
def environment():
    """What a reader's shell has: nothing of Runstead's, and no proxy on the way to this machine."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RUNSTEAD_")}
    packages = str(Path(runstead.__file__).parents[1])
    return kept | {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1", "PYTHONPATH": packages}
