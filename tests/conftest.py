"""What several rooms of tests share: real servers, started when the first test asks for them."""

import asyncio
import gc
import shutil
import sys
from collections import Counter
from contextlib import closing
from functools import cache, partial
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, settings

# An example may take as long as a busy machine needs.
settings.register_profile("long", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("short", settings.get_profile("long"), max_examples=35)

#: Files and folders whose files take longest, first. Workers take files in order: what comes last should be short.
SLOW = (
    "interop/test_openapi_fuzz.py",
    "web/test_every_page.py",
    "web/test_runs_live.py",
    "faults/test_faults.py",
    "store/test_run_index.py",
    "e2e",
    "web",
    "interop",
    "store",
    "http",
    "sdk",
    "docs",
)
#: So many files are listed at the end.
SLOWEST = 10
#: The event loop of the tests.
LOOPS = []


def pytest_configure(config):
    # Before the files of tests are imported, whose settings inherit the profile.
    settings.load_profile("short" if config.option.markexpr == "not long" else "long")
    # To print exceptions in colours takes longer than to provoke them.
    plain = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[*structlog.get_config()["processors"][:-1], plain])
    gc.disable()  # until all tests are collected: they stay


def pytest_unconfigure():
    if module := sys.modules.get("tests.support.postgres_server"):
        module.forget_beginning()


def pytest_collection_finish():
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(items):
    tests = Path(__file__).parent

    @cache
    def place(path):
        return next((n for n, name in enumerate(SLOW) if path.is_relative_to(tests / name)), len(SLOW))

    items.sort(key=lambda item: place(item.path))


def pytest_terminal_summary(terminalreporter):
    """The files that took longest, in all workers: where a suite that has become slow has to be looked into."""
    spent = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                spent[report.nodeid.partition("::")[0]] += report.duration
    if len(spent) > SLOWEST:
        terminalreporter.section(
            f"slowest {SLOWEST} files of {len(spent)}, {sum(spent.values()):.0f} s in all"
        )
        for path, seconds in spent.most_common(SLOWEST):
            terminalreporter.write_line(f"{seconds:6.1f} s  {path}")


@pytest.fixture(scope="session", autouse=True)
async def _loop():
    LOOPS.append(asyncio.get_running_loop())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown():
    """All tests share an event loop, but no test leaves a task in it to the next one."""
    try:
        return (yield)
    finally:
        for loop in LOOPS:
            if left := asyncio.all_tasks(loop):
                for task in left:
                    task.cancel()
                loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))


@pytest.fixture(scope="session")
def databases():
    """Databases of one PostgreSQL server."""
    from tests.support.kept_sessions import forget
    from tests.support.postgres_server import Databases, PostgresServer

    server = PostgresServer()
    made = Databases(server)
    yield made
    for loop in LOOPS:
        forget(loop)
    made.close()
    server.remove()


@pytest.fixture(scope="session")
async def postgres_store(databases):
    """postgres_store(clock): a store over an empty database, not open yet. Without a clock it has the database's."""
    from tests.support.kept_sessions import keep
    from tests.support.postgres_server import LeasedStore

    keep(asyncio.get_running_loop())
    return lambda clock=None: LeasedStore(databases, clock)


@pytest.fixture(scope="session")
def sqlite_file(tmp_path_factory):
    """sqlite_file(path): an empty store there, which takes a tenth of the time of its migrations."""
    from runstead.engines.sqlite.connection import connect
    from runstead.engines.sqlite.migrate import migrate

    empty = tmp_path_factory.mktemp("sqlite") / "empty.db"
    with closing(connect(empty, "OFF")) as connection:
        migrate(connection)

    empty.chmod(0o600)  # a store warns of any other mode
    return partial(shutil.copy, empty)


@pytest.fixture(scope="session")
def sqlite_store(sqlite_file):
    """sqlite_store(path, clock): a store over an empty file that is set up already, not open yet."""
    from runstead.engines.sqlite.store import SqliteStore

    def make(path, clock):
        sqlite_file(path)
        return SqliteStore(path, clock, "OFF")

    return make


@pytest.fixture(scope="session")
def s3_server():
    """The URL of an S3 server with the bucket `artifacts`."""
    pytest.importorskip("obstore")
    pytest.importorskip("moto.server")
    from tests.support.s3_server import s3_server

    with s3_server() as url:
        yield url
