"""The files of the guides pass the tests that the guides show, and their programs print what the guides promise."""

import asyncio
import importlib
import inspect
import re
import shlex
import sys
import threading
from contextlib import contextmanager, nullcontext

import pytest

from runstead import AsyncClient, Client, RunsteadError
from runstead.cli.app import app as command_line

from .conftest import started
from .pages import PAGES, blocks, files, name, text

GUIDES = {
    name(page): files(page)
    for page in PAGES
    if name(page).startswith(("docs/quick-start.md", "docs/guides/")) and files(page)
}
#: `start.py` prints a block of text.
_PRINTS = re.compile(
    r"`(\w+\.py)`[^`\n]*:\n\n```python\n[^`]*^```\n\nIt prints:\n\n```text\n(.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
PROGRAMS = [(page, *found) for page in GUIDES for found in _PRINTS.findall(text(page))]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Writes files into a directory of modules, which are imported anew for each test."""
    monkeypatch.syspath_prepend(str(tmp_path))
    written = set()

    def write(sources):
        for file, source in sources.items():
            (tmp_path / file).write_text(source.replace("asyncio.sleep(1)", "asyncio.sleep(0)"))
        written.update(file.removesuffix(".py") for file in sources)
        assert not written & sys.modules.keys()
        importlib.invalidate_caches()

    yield write
    for module in written:
        sys.modules.pop(module, None)


@pytest.mark.parametrize("page", GUIDES)
def test_the_files_of_a_guide_pass_its_test(page, folder):
    folder(GUIDES[page])
    modules = [file.removesuffix(".py") for file in GUIDES[page] if file.startswith("test_")]
    assert modules, "a guide has a test"
    for module in modules:
        tests = [
            one for word, one in vars(importlib.import_module(module)).items() if word.startswith("test_")
        ]
        assert tests
        for test in tests:
            ended = test()
            if inspect.iscoroutine(ended):
                asyncio.run(ended)


@contextmanager
def serving(app, server):
    """A worker for an app, in a thread."""
    workers, ready = [], threading.Event()

    async def serve():
        async with AsyncClient(server.url, server.key, project="default") as client:
            workers.append((asyncio.get_running_loop(), app.worker(client, wait_seconds=1, grace_seconds=0)))
            ready.set()
            await workers[0][1].serve()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(60)
    try:
        yield
    finally:
        loop, worker = workers[0]
        loop.call_soon_threadsafe(worker.stop)
        thread.join(60)


@pytest.mark.parametrize(
    ("page", "file", "printed"), PROGRAMS, ids=lambda word: word.partition("\n")[0][-30:]
)
def test_a_program_of_a_guide_prints_what_the_guide_shows(
    page, file, printed, folder, server, capsys, monkeypatch
):
    monkeypatch.setenv("RUNSTEAD_URL", server.url)
    monkeypatch.setenv("RUNSTEAD_KEY", server.key)
    folder({each: server.fit(source) for each, source in GUIDES[page].items()})
    first = importlib.import_module(next(iter(GUIDES[page])).removesuffix(".py"))
    with serving(first.app, server) if hasattr(first, "app") else nullcontext():
        importlib.import_module(file.removesuffix(".py"))
    assert capsys.readouterr().out == printed


def test_every_program_of_a_guide_has_its_output():
    """A program calls a server at its end; other files are imported by a test."""
    calls = {
        (page, file)
        for page, sources in GUIDES.items()
        for file, it in sources.items()
        if "with Client(" in it
    }
    assert calls == {(page, file) for page, file, _ in PROGRAMS}


COMMANDS = [
    line.removeprefix("$ ")
    for block in blocks("console")
    if name(block.page) in GUIDES
    for line in block.text.splitlines()
    if "runstead " in line and line.startswith("$ ")
]


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_of_a_guide_has_arguments_that_exist(line, monkeypatch):
    monkeypatch.setenv("RUNSTEAD_KEY", "vf_local_YOUR-KEY")
    words = shlex.split(line, comments=True)
    command_line.parse_args(words[words.index("runstead") + 1 :], exit_on_error=False, print_error=False)


def test_the_receiver_of_webhooks_needs_the_setting_that_its_guide_names(folder):
    page = "docs/guides/webhooks.md"
    (command,) = [b.text for b in blocks("console") if name(b.page) == page and "serve" in b.text]
    assert command.startswith("$ RUNSTEAD_ALLOW_PRIVATE_EGRESS=true ")  # as the server of the programs has it
    with started({}) as server:
        folder({file: server.fit(source) for file, source in GUIDES[page].items()})
        with pytest.raises(RunsteadError, match="RUNSTEAD_ALLOW_PRIVATE_EGRESS") as refused:
            importlib.import_module("try_it")
    assert refused.value.code == "INVALID_REQUEST"


def test_the_token_for_a_page_reads_one_run_and_nothing_else(folder):
    folder({"tokens.py": GUIDES["docs/guides/streaming-to-a-browser.md"]["tokens.py"]})
    with started({}) as server, Client(server.url, server.key, project="default") as client:
        own, other = client.start("task:answer"), client.start("task:answer")
        page = client.with_key(importlib.import_module("tokens").token_for_a_page(client, own.id))
        assert page.runs.get(own.id).status == "pending"
        for refused in (lambda: page.runs.get(other.id), lambda: page.runs.cancel(own.id), page.runs.list):
            with pytest.raises(RunsteadError):
                refused()
