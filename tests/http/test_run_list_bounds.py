"""What the dashboard's list of runs costs is bounded by what it shows, not by how many runs there are or how
much happens.

It is not with the dashboard's other tests: their browser keeps an event loop running, and these need one of
their own.
"""

import asyncio
import sqlite3
from contextlib import aclosing

import pytest

from runstead.commands import batches, create as creating, runs as commands
from runstead.commands.app import App
from runstead.commands.batches import NewBatch
from runstead.commands.create import NewRun
from runstead.commands.keys import new_project
from runstead.core import limits
from runstead.core.clock import iso
from runstead.core.identity.principal import ALL_SCOPES, Principal
from runstead.engines.notifiers.local import LocalNotifier
from runstead.web.framework.form import Fields
from runstead.web.framework.request import PageRequest
from runstead.web.runs import listing, rows
from runstead.web.runs.filters import Filters, rows_shown
from runstead.web.runs.rows import follow
from tests.support.clock import Clock


class Place:
    """A project over SQLite. `steps` counts the steps of SQLite's virtual machine in readers, in hundreds."""

    def __init__(self, store, project, clock):
        self.app = App(store, LocalNotifier())
        self.project = project
        self.principal = Principal("api_key", "k", {project.id: ALL_SCOPES})
        self.steps = 0
        self.clock = clock

    def request(self, path, query=()):
        scope = {
            "path": path,
            "query_string": b"",
            "headers": [],
            "path_params": {"project": self.project.slug},
        }
        fields = Fields(list(query))
        return PageRequest(self.app, scope, self.principal, None, "secret", fields, Fields([]), lambda: None)

    def show(self, path, query=()):
        return listing.index(self.request(path, query), self.project)

    def task(self):
        return NewRun(kind="task", owner_kind="project", owner_id=self.project.id, target="task:many")

    async def fill(self, count):
        for _ in range(count // 1_000):
            await batches.create(
                self.app,
                self.principal,
                self.project.slug,
                NewBatch(runs=tuple(self.task() for _ in range(1_000))),
            )

    async def cost(self, reading):
        self.steps = 0
        answer = await reading
        assert answer.status_code == 200
        return self.steps


@pytest.fixture
async def place(sqlite_store, tmp_path, monkeypatch):
    from runstead.engines.sqlite.readers import _ReaderPool

    clock = Clock()
    store = sqlite_store(tmp_path / "runs.db", clock)
    await store.open()
    place = Place(store, new_project("many", None), clock)
    await store.identity.create_project(place.project, None, None)
    read = _ReaderPool._read

    def counted(self, reading, ticket):
        def with_count(connection: sqlite3.Connection):
            connection.set_progress_handler(count, 100)
            return reading(connection)

        return read(self, with_count, ticket)

    def count():
        place.steps += 1

    monkeypatch.setattr(_ReaderPool, "_read", counted)
    yield place
    await store.close()


@pytest.mark.parametrize("states", [(), ("pending",), ("pending", "running"), ("running", "waiting")])
async def test_a_list_of_five_times_as_many_runs_costs_the_same(place, states):
    query = [("status", one) for one in states]
    await place.fill(1_000)
    few = await place.cost(place.show("/ui/projects/many/runs", query))
    await place.fill(4_000)
    many = await place.cost(place.show("/ui/projects/many/runs", query))
    assert many <= few * 1.2 + 5


async def test_a_page_far_back_costs_as_much_as_the_first(place):
    await place.fill(3_000)
    first = await place.cost(place.show("/ui/projects/many/runs"))
    far = (
        await commands.page(place.app, place.principal, place.project.id, Filters().query(limit=2_500))
    ).rows
    cursor = [("cursor", listing.to_cursor(far[-1], "created_at"))]
    assert await place.cost(place.show("/ui/projects/many/runs", cursor)) <= first * 1.2


async def reads_during(place, monkeypatch, filters, changes):
    """Return the updates of a follower of the list, and how often it read the list, during many changes."""
    reads, found, looked, heard = [], [], asyncio.Event(), asyncio.Event()
    page = place.app.store.runs.page

    async def counted(query):
        reads.append(query.limit)
        looked.set()
        return await page(query)

    monkeypatch.setattr(place.app.store.runs, "page", counted)
    monkeypatch.setattr(rows, "reread_s", 0.2)

    async def listen():
        async with aclosing(follow(place.request("/"), place.project, filters, "")) as parts:
            async for one in parts:
                found.append(one)
                if one is not None and one.name == "news":
                    heard.set()

    listening = asyncio.ensure_future(listen())
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with asyncio.timeout(30):
        await looked.wait()
        await changes()
        await heard.wait()
    await asyncio.sleep(0.5)  # later reads
    took = loop.time() - began
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)
    return reads, found, took


async def test_many_changes_cause_few_reads_of_the_list(place, monkeypatch):
    async def changes():
        for _ in range(300):
            written = await creating.create(place.app, place.principal, place.task())
            await commands.cancel(
                place.app, place.principal, commands.RunRef(written.run.run_id, place.project.id), None
            )

    reads, found, took = await reads_during(place, monkeypatch, Filters(), changes)
    assert 1 < len(reads) <= took / 0.2 + 2
    assert set(reads) == {rows_shown}
    assert len([one for one in found if one is not None]) <= 3 * len(reads)
    last = [one.html for one in found if one is not None and one.name == "rows"][-1]
    assert last.count("<tr") <= 2 * rows_shown


async def test_changes_outside_the_shown_rows_cause_no_reads(place, monkeypatch):
    await place.fill(1_000)
    shown = (
        await commands.page(place.app, place.principal, place.project.id, Filters().query(limit=500))
    ).rows

    async def changes():
        for run in shown[-20:]:
            await commands.cancel(
                place.app, place.principal, commands.RunRef(run.run_id, place.project.id), None
            )

    reads, found, _ = await reads_during(place, monkeypatch, Filters(), changes)
    assert len(reads) == 1
    assert [one.name for one in found if one is not None and one.name == "rows"] == []


async def test_a_period_costs_as_much_as_the_runs_in_it(place, monkeypatch):
    """Periods of the oldest runs of the list, and a period without runs."""
    monkeypatch.setattr(limits, "order_slack_ms", 0)
    monkeypatch.setattr(limits, "order_near", 100)
    await place.fill(1_000)
    place.clock.now += 1_000
    query = [("until", iso(place.clock.now))]
    few = await place.cost(place.show("/", query))
    place.clock.now += 1_000
    await place.fill(4_000)
    many = await place.cost(place.show("/", query))
    assert 0 < few <= many <= few + 100
    place.clock.now += 1_000
    assert await place.cost(place.show("/", [("since", iso(place.clock.now))])) <= 100
