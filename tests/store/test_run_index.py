"""Lists that are found by the index of runs: what is indexed, what is younger, and what has changed since."""

import asyncio
import random
from itertools import count

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from msgspec.structs import replace

from runstead.commands.check import check
from runstead.core.identity.project import Project
from runstead.core.runs.run import RunStatus
from runstead.core.runs.transition import Transition
from runstead.core.runs.transitions import rewrite
from runstead.engines.sql.postings import BLOCK
from runstead.ports.store import RunQuery
from tests.support.clock import NOON
from tests.support.examples import examples
from tests.support.model.pages import matches, sort_key
from tests.support.store_driver import PROJECT, StoreDriver

pytestmark = pytest.mark.parametrize("engine", ["sqlite", "postgres"], indirect=True)

#: One row for each seq up to the end of its block, of another project; what a run needs, and no more.
FILL = {
    "sqlite": """INSERT INTO runs (uid, project_id, run_id, kind, status, owner_kind, owner_id, root_run_id, created_at,
 updated_at, path, descendants_total, descendants_active, push_failures, attempt, attempts_lost, latest_event_id,
 latest_external_event_sequence, version) WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {count})
 SELECT 'u', 'filler', 'filler-{mark}-' || n, 'task', 'pending', 'project', 'p', 'r', {at}, {at}, '/', 0, 0, 0, 0, 0, 0, 0,
 1 FROM n""",
    "postgres": """INSERT INTO runs (uid, project_id, run_id, kind, status, owner_kind, owner_id, root_run_id, created_at,
 updated_at, path, push_failures, attempt, attempts_lost, latest_event_id, latest_external_event_sequence, version, seq,
 root_seq) SELECT 'u', 'filler', 'filler-{mark}-' || n, 'task', 'pending', 'project', 'p', 'r', {at}, {at}, '/', 0, 0, 0, 0, 0,
 1, n, n FROM (SELECT nextval('run_seq') AS n FROM generate_series(1, {count})) AS fresh""",
}
INDEXED = "SELECT mark, noted FROM run_index"


@pytest.fixture
def execute(store, engine):
    """execute(sql): beside the store."""

    def on_sqlite(sql):
        import sqlite3
        from contextlib import closing

        with closing(sqlite3.connect(store._path)) as connection, connection:
            return connection.execute(sql).fetchall()

    def on_postgres(sql):
        return [tuple(row) for row in store._databases.execute(store.database, sql)]

    return on_postgres if engine == "postgres" else on_sqlite


@pytest.fixture
def settle(store, engine, execute):
    """settle(): what is there by now is indexed, and younger runs begin a block of their own."""
    marks = count()

    async def fill_and_advance():
        newest = execute("SELECT max(seq) FROM runs")[0][0]
        missing = BLOCK - newest % BLOCK
        execute(FILL[engine].format(count=missing, mark=next(marks), at=NOON))
        while await store.run_index.advance():
            pass

    return fill_and_advance


async def ids(driver, project_ids=(PROJECT,), **filters):
    return [run.run_id for run in (await driver.runs.page(RunQuery(tuple(project_ids), **filters))).rows]


async def found(store):
    return [one.sentence async for one in check(store) if one.rule == "the_index_finds_the_run"]


async def rename(driver, run_id, **names):
    await driver.change(run_id, lambda to: Transition(rewrite(to.run, to.now, **names)))


async def test_the_newest_runs_are_found_before_they_are_indexed(driver, settle):
    await driver.create("old", target="task:a")
    await settle()
    await driver.create("young", target="task:a")
    assert await ids(driver, targets=("task:a",)) == ["young", "old"]
    assert await ids(driver, targets=("task:b",)) == []


FILTERS = [
    {"targets": ("task:a", "task:b")},
    {"kinds": ("eval",)},
    {"labels": (("team", "red"),)},
    {"text": "epor"},
    {"text": "EP"},
    {"text": "é"},
    {"root_only": True, "text": "epor"},
    {"statuses": ("completed",)},
    {"statuses": ("completed", "pending")},
    {"schedule_id": "s-1", "statuses": ("pending", "completed")},
    {"created_after": NOON - 1, "created_before": NOON + 1},
    {"sort": "duration"},
    {"sort": "duration", "labels": (("team", "red"),)},
]


@pytest.mark.parametrize("filters", FILTERS, ids=repr)
async def test_a_filter_finds_what_is_indexed_and_what_is_not(driver, clock, settle, filters):
    fields = {"target": "task:a", "title": "Réport", "labels": b'{"team":"red"}', "schedule_id": "s-1"}
    for name in ("indexed", "young"):
        await driver.create(f"{name} report", kind="eval", **fields)
        await driver.complete(f"{name} report")
        await driver.create(f"{name} other", target="task:c", status=RunStatus.PENDING)
        if name == "indexed":
            await settle()
    got = await ids(driver, **filters)
    assert [one for one in got if "report" in one] == ["young report", "indexed report"]
    assert (
        await ids(driver, labels=(("team", "green"),), **{k: v for k, v in filters.items() if k != "labels"})
        == []
    )


async def test_a_run_that_ends_after_it_was_indexed_is_found_in_its_new_state(driver, settle, clock):
    await driver.create("run")
    await settle()
    clock.advance_ms(70)
    await driver.complete("run")
    for _ in range(2):  # before the loop has seen it, and after
        assert await ids(driver, statuses=("completed",)) == ["run"]
        assert await ids(driver, sort="duration") == ["run"]
        assert await ids(driver, statuses=("pending",), kinds=("task",)) == []
        assert await found(driver.store) == []
        await driver.store.run_index.advance()


async def test_a_run_that_is_renamed_is_found_by_its_new_name_alone(driver, settle):
    await driver.create("run", title="before", labels=b'{"team":"red"}')
    await settle()
    await rename(driver, "run", title="after", labels=b'{"team":"blue"}')
    for _ in range(2):
        assert await ids(driver, text="after") == await ids(driver, labels=(("team", "blue"),)) == ["run"]
        assert await ids(driver, text="before") == await ids(driver, labels=(("team", "red"),)) == []
        assert await found(driver.store) == []
        await driver.store.run_index.advance()


async def test_labels_and_errors_are_searched(driver, settle):
    for name in ("indexed", "young"):
        await driver.create(f"{name} labelled", labels=b'{"customer":"Acme \\"GmbH\\""}')
        await driver.create(f"{name} failing")
        if name == "indexed":
            await settle()
        await driver.complete(
            f"{name} failing", "failed", error_message='The "card" was Declined', error_code="CARD"
        )
    for _ in range(2):  # before the loop has seen the end of the indexed run, and after
        for text in ("acme", "customer", 'cme "gm', "mb"):
            assert await ids(driver, text=text) == ["young labelled", "indexed labelled"], text
        for text in ("declined", '"CARD" was', "ca", "CARD"):
            assert await ids(driver, text=text) == ["young failing", "indexed failing"], text
        assert await ids(driver, text="zebra") == []
        assert await found(driver.store) == []
        await driver.store.run_index.advance()


async def test_values_are_searched_only_where_the_project_wants_it_and_only_of_later_runs(
    driver, store, settle, clock
):
    await store.identity.ensure_project(Project(PROJECT, "p", "P", 1), None, None)
    long = msgspec.json.encode({"note": "needle", "filler": "x" * 5_000, "beyond": "outside"})

    async def make(name):
        await driver.create(name, input=long)
        await driver.complete(name, output=msgspec.json.encode({"found": "Treasure"}))

    async def searching(*, search):
        await store.identity.change_project(
            PROJECT, lambda project, now: project.searching_values(now, search=search)
        )

    await make("before")
    await settle()
    assert await ids(driver, text="needle") == []
    await searching(search=True)
    clock.advance(2)
    await make("indexed")
    await settle()
    await make("young")
    for text in ("needle", "treasure"):
        assert await ids(driver, text=text) == ["young", "indexed"]
        assert await ids(driver, ("p-2",), text=text) == []
    assert await ids(driver, text="outside") == []
    assert await found(store) == []
    await searching(search=False)
    assert await ids(driver, text="needle") == []


async def test_a_run_that_was_deleted_is_found_no_more_and_a_dead_block_leaves(driver, settle, execute):
    for name in ("first", "second"):
        await driver.create(name, title="here")
        await driver.complete(name)
    await settle()
    await driver.delete("first")
    for _ in range(2):
        assert await ids(driver, text="here") == ["second"]
        assert await ids(driver, sort="duration") == ["second"]
        await driver.store.run_index.advance()
    assert await found(driver.store) == []
    execute("DELETE FROM runs WHERE project_id = 'filler'")
    await driver.delete("second")
    while await driver.store.run_index.advance():
        pass
    assert execute("SELECT count(*) FROM run_terms") == [(0,)]
    assert await ids(driver, text="here") == []


async def test_what_retention_deletes_leaves_the_index(driver, settle, execute, clock):
    await driver.create("old")
    await driver.complete("old")
    await settle()
    execute("DELETE FROM runs WHERE project_id = 'filler'")
    clock.advance_ms(10_000)
    page = await driver.store.retention.candidates(1_000, 0, 10)
    assert await driver.store.retention.retire(1_000, [(one, None) for one in page.runs]) == 1
    while await driver.store.run_index.advance():
        pass
    assert execute("SELECT count(*) FROM run_terms") == [(0,)]
    assert execute("SELECT count(*) FROM run_index_changes") == [(0,)]


async def test_a_change_between_noting_and_reading_a_block_is_not_lost(driver, settle, execute, store):
    """Changes to the block are recorded before it is read, so none is lost between the two."""
    await driver.create("run", title="before")
    index, advanced = store.run_index, asyncio.Event()
    read = type(index).read

    async def renaming(self, name, *arguments):
        rows = await read(self, name, *arguments)
        if name == "index_facts" and not advanced.is_set():
            advanced.set()
            await rename(driver, "run", title="after")
        return rows

    type(index).read = renaming
    try:
        await settle()
    finally:
        type(index).read = read
    assert advanced.is_set()
    assert await ids(driver, text="after") == ["run"]
    assert await found(store) == []


async def test_two_that_keep_the_index_at_once_do_not_lose_each_others_work(driver, settle, store, execute):
    for n in range(20):
        await driver.create(f"run-{n}", title="before")
    await settle()
    for n in range(20):
        await rename(driver, f"run-{n}", title=f"after {n}")
    await driver.create("young")
    while sum(await asyncio.gather(*(store.run_index.advance() for _ in range(3)))):
        pass
    assert len(await ids(driver, text="after")) == 20
    assert await found(store) == []
    assert execute("SELECT count(*) FROM run_index_changes") == [(0,)]


async def test_the_check_finds_what_the_index_lacks(driver, settle, execute):
    await driver.create("run", title="here")
    await settle()
    assert await found(driver.store) == []
    execute("UPDATE runs SET created_at = created_at + 1 WHERE run_id = 'run'")
    assert len(await found(driver.store)) == 1
    execute("UPDATE runs SET created_at = created_at - 1, target = 'task:moved' WHERE run_id = 'run'")
    assert len(await found(driver.store)) == 1
    execute("DELETE FROM run_terms")
    assert len(await found(driver.store)) >= BLOCK


async def test_many_projects_are_found_at_once(driver, settle):
    projects = [f"p-{n}" for n in range(40)]
    for project in projects:
        await driver.create("run", project_id=project, title="here")
    await settle()
    assert len(await ids(driver, projects[:3], text="here")) == 3
    assert len(await ids(driver, projects, text="here", limit=100)) == 40
    assert await ids(driver, projects[:2]) == ["run", "run"]


async def test_pages_go_on_through_blocks_without_loss_or_repetition(driver, settle, clock):
    rng = random.Random(3)
    for part in range(3):
        for n in range(30):
            await driver.create(
                f"run-{part}-{n}", status=RunStatus.RUNNING, title=rng.choice(["here", "there"])
            )
            clock.advance_ms(rng.randrange(4))
            await driver.complete(f"run-{part}-{n}")
        if part < 2:
            await settle()
    for sort in ("created_at", "duration"):
        read, before = [], None
        while page := (
            await driver.runs.page(RunQuery((PROJECT,), text="here", sort=sort, before=before, limit=7))
        ).rows:
            read += page
            before = (page[-1].duration_ms if sort == "duration" else None, page[-1].seq)
        assert len({run.seq for run in read}) == len(read) == 90
        assert read == sorted(read, key=lambda run: sort_key(run, RunQuery((), sort=sort)), reverse=True)


async def test_more_than_a_few_are_put_in_order_by_the_durations_of_the_index(driver, settle, execute):
    """So many that they are not read whole: a block of runs that have ended, among them equal durations."""
    await driver.create("first")
    await settle()
    execute(
        "UPDATE runs SET status = 'completed', completed_at = 1, duration_ms = seq * 7919 % 1000"
        f" WHERE project_id = 'filler' AND seq > {BLOCK // 2}"
    )
    while await driver.store.run_index.advance():
        pass
    runs = (await driver.runs.page(RunQuery(("filler",), limit=BLOCK))).rows
    ended = [run for run in runs if run.duration_ms is not None]
    wanted = sorted(ended, key=lambda run: (run.duration_ms, run.seq), reverse=True)
    assert (await driver.runs.page(RunQuery(("filler",), sort="duration", limit=50))).rows == wanted[:50]
    before = (wanted[777].duration_ms, wanted[777].seq)
    page = (await driver.runs.page(RunQuery(("filler",), sort="duration", before=before, limit=50))).rows
    assert page == wanted[778:828]


# --- against a naive model ---------------------------------------------------------------------------------------------

WORDS = ["Nightly report", "report", "Ré\U0001f389port", "100%", "a_b", "ab", "", None]
LABELS = [None, {"team": "red"}, {"team": "blue", "env": "prod"}, {"a:b": "c\\"}]
runs = st.fixed_dictionaries(
    {
        "target": st.sampled_from([None, "task:a", "task:Report"]),
        "title": st.sampled_from(WORDS),
        "labels": st.sampled_from(LABELS),
        "kind": st.sampled_from(["task", "eval"]),
        "project_id": st.sampled_from([PROJECT, "p-2"]),
        "end": st.sampled_from([None, "completed", "failed"]),
        "later": st.sampled_from([None, "rename", "end", "delete"]),
    }
)
queries = st.fixed_dictionaries(
    {"project_ids": st.sampled_from([(PROJECT,), (PROJECT, "p-2"), ("p-2",)])},
    optional={
        "targets": st.sampled_from([("task:a",), ("task:a", "task:Report"), ("none",)]),
        "kinds": st.sampled_from([("eval",), ("task", "eval"), ("agent",)]),
        "statuses": st.sampled_from(
            [("completed",), ("pending",), ("completed", "failed"), ("pending", "failed")]
        ),
        "labels": st.sampled_from(
            [(("team", "red"),), (("team", "blue"), ("env", "prod")), (("a:b", "c\\"),)]
        ),
        "text": st.sampled_from(
            [
                "report",
                "RE",
                "r",
                "é",
                "\U0001f389",
                "00%",
                "_",
                "run-1",
                "zz",
                "rt",
                "blue",
                "c\\",
                '"',
                "led",
                "Failed",
            ]
        ),
        "root_only": st.booleans(),
        "created_after": st.integers(NOON - 2, NOON + 60),
        "created_before": st.integers(NOON - 2, NOON + 60),
        "sort": st.sampled_from(["created_at", "duration"]),
        "limit": st.integers(1, 30),
    },
)


@given(
    made=st.lists(st.lists(runs, max_size=8), min_size=1, max_size=3),
    asked=st.lists(queries, min_size=1, max_size=12),
    worked_in=st.booleans(),
)
@settings(max_examples=examples(15), deadline=None, suppress_health_check=list(HealthCheck))
def test_lists_are_those_of_a_model_that_looks_at_every_run(
    databases, tmp_path_factory, engine, made, asked, worked_in
):
    asyncio.run(_as_the_model(databases, tmp_path_factory, engine, made, asked, worked_in))


async def _as_the_model(databases, tmp_path_factory, engine, made, asked, worked_in):
    from tests.support.clock import Clock

    clock = Clock()
    store, execute = _new(databases, tmp_path_factory, engine, clock)
    await store.open()
    try:
        driver, marks = StoreDriver(store, clock), count()
        later = []
        for part, some in enumerate(made):
            for n, fields in enumerate(some):
                run_id, end, after = f"run-{part}-{n}", fields["end"], fields["later"]
                arguments = {name: value for name, value in fields.items() if name not in ("end", "later")}
                arguments["labels"] = (
                    None if arguments["labels"] is None else msgspec.json.encode(arguments["labels"])
                )
                run = await driver.create(run_id, **arguments)
                key = driver.key(run_id, arguments["project_id"])
                if end is not None:
                    await _end(driver, key, end, clock)
                later.append((key, after, end, run))
            if part < len(made) - 1 or len(made) == 1:
                newest = execute("SELECT coalesce(max(seq), 0) FROM runs")[0][0]
                execute(FILL[engine].format(count=BLOCK - newest % BLOCK, mark=next(marks), at=NOON))
                while await store.run_index.advance():
                    pass
        for key, after, end, _ in later:
            if after == "rename":
                names = {"title": "renamed report", "labels": b'{"team":"red"}'}
                await driver.runs.apply(
                    key, lambda to, names=names: Transition(rewrite(to.run, to.now, **names))
                )
            elif after == "end" and end is None:
                await _end(driver, key, "failed", clock)
            elif after == "delete" and end is not None:
                from runstead.core.runs import transitions

                await driver.runs.apply(key, lambda to: transitions.delete(to.run))
        if worked_in:
            while await store.run_index.advance():
                pass
        every = (await driver.runs.page(RunQuery((PROJECT, "p-2"), limit=1_000))).rows
        for given_query in asked:
            query = RunQuery(**given_query)
            wanted = [run for run in every if matches(run, query)]
            wanted.sort(key=lambda run: sort_key(run, query), reverse=True)
            assert (await driver.runs.page(query)).rows == wanted[: query.limit], query
            if wanted:
                middle = wanted[len(wanted) // 2]
                before = (middle.duration_ms if query.sort == "duration" else None, middle.seq)
                rest = replace(query, before=before)
                assert (await driver.runs.page(rest)).rows == wanted[len(wanted) // 2 + 1 :][: query.limit], (
                    rest
                )
        assert await found(store) == []
    finally:
        await store.close()


async def _end(driver, key, status, clock):
    from runstead.core.runs import transitions
    from runstead.core.runs.transitions import NO_FENCE, Completion

    clock.advance_ms(7)
    end = Completion(status=status, error_message="broken" if status == "failed" else None)
    await driver.runs.apply(
        key, lambda to: transitions.complete(to.run, now=to.now, completion=end, fence=NO_FENCE)
    )


def _new(databases, tmp_path_factory, engine, clock):
    import sqlite3
    from contextlib import closing

    from runstead.engines.sqlite.store import SqliteStore
    from tests.support.postgres_server import LeasedStore

    if engine == "postgres":
        store = LeasedStore(databases, clock)
        return store, lambda sql: [tuple(row) for row in databases.execute(store.database, sql)]
    path = tmp_path_factory.mktemp("index") / "runs.db"

    def execute(sql):
        with closing(sqlite3.connect(path)) as connection, connection:
            return connection.execute(sql).fetchall()

    return SqliteStore(path, clock, "OFF"), execute
