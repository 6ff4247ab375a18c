"""A store with every kind of row, copied to each other engine: what comes out is what went in."""

import pytest

from runstead.commands.check import check
from runstead.commands.copy import CopyError, copy, digest, shared
from runstead.core import limits
from runstead.engines.postgres.bulk import PostgresBulk
from runstead.engines.sqlite.bulk import SqliteBulk
from runstead.engines.sqlite.store import SqliteStore

pytestmark = pytest.mark.parametrize("engine", ["sqlite", "postgres"], indirect=True)


@pytest.fixture
def bulk(databases):
    """bulk(store): it as plain tables."""

    def of(store):
        if isinstance(store, SqliteStore):
            return SqliteBulk(store._path)
        return PostgresBulk(databases.server.url(store.database))

    return of


@pytest.fixture
async def bulks(populated_store, bulk):
    """bulks(store): the store that has populated_store, and another, both open as tables."""
    opened = []

    async def both(target):
        pair = bulk(populated_store.store), bulk(target)
        await pair[0].open_source()
        await pair[1].open_target()
        opened.extend(pair)
        return pair

    yield both
    for one in opened:
        if one in opened[1::2] and await one.progress() is not None:
            await one.end()  # databases are used again
        await one.close()


@pytest.fixture(params=["sqlite", "postgres"])
async def target(request, tmp_path, clock):
    """An empty, migrated store."""
    if request.param == "postgres":
        store = request.getfixturevalue("postgres_store")(clock)
    else:
        store = SqliteStore(tmp_path / "target.db", clock, synchronous="OFF")
    await store.open()
    yield store
    await store.close()


async def test_a_copy_is_what_its_source_is(populated_store, target, bulks, event, clock, engine):
    source, into = await bulks(target)
    copied = await copy(source, into, lambda *_: None)
    only_after_an_upgrade = ["rollup_backlog", "rollup_open"]
    under_way = ["family_cancels"]
    assert sorted(name for name, rows in copied.items() if not rows) == under_way + only_after_an_upgrade
    for table in copied:
        assert await digest(source, table) == await digest(into, table)
    assert [violation async for violation in check(target)] == []
    for run in await populated_store.rows():
        mine, theirs = type(populated_store)(target, clock), populated_store
        assert await mine.row(run.run_id) == run
        assert await mine.log(run.run_id) == await theirs.log(run.run_id)
        assert await mine.family(run.run_id) == await theirs.family(run.run_id)
    await source.close()

    driver = type(populated_store)(target, clock)
    newest = max(run.seq for run in await populated_store.rows())
    assert (await driver.create("after")).seq > newest
    child = await driver.create("after.1", parent="root")
    await driver.append("after.1", event())
    await driver.append("gone-parent.2", event()) if await driver.create(
        "gone-parent.2", parent="gone-parent"
    ) else None
    assert child.root_seq == (await driver.row("root")).seq
    assert [violation async for violation in check(target)] == []


async def test_a_copy_goes_on_where_it_was_killed(populated_store, target, bulks, bulk, monkeypatch):
    monkeypatch.setattr(limits, "copy_rows_max", 3)
    left = 0
    source, into = await bulks(target)
    kept = into.write

    async def write(table, rows, mark):
        nonlocal left
        if left == 0:
            raise KeyboardInterrupt
        await kept(table, rows, mark)
        left -= 1

    monkeypatch.setattr(into, "write", write)
    kills = 0
    while True:
        left = 5
        try:
            await copy(source, into, lambda *_: None)
            break
        except KeyboardInterrupt:
            kills += 1
    assert kills > 3
    assert await into.progress() is None
    assert [violation async for violation in check(target)] == []


async def test_a_copy_goes_on_only_with_the_source_as_it_was(
    populated_store, target, bulks, bulk, monkeypatch
):
    source, into = await bulks(target)
    await into.begin(b"another")
    with pytest.raises(CopyError, match="unfinished copy of another store"):
        await copy(source, into, lambda *_: None)


async def test_an_unfinished_copy_does_not_serve(target, bulks):
    _, into = await bulks(target)
    await into.begin(b"something")
    with pytest.raises(RuntimeError, match="unfinished copy"):
        await target.open()
    await into.end()


async def test_a_target_with_rows_is_refused(populated_store, target, bulks, engine):
    await type(populated_store)(target, None).create("mine")
    source, into = await bulks(target)
    with pytest.raises(CopyError, match=r"not empty: it has rows in .*runs"):
        await copy(source, into, lambda *_: None)


async def test_a_source_is_locked_against_writes(populated_store, target, bulks, refusal):
    if isinstance(populated_store.store, SqliteStore):  # it waits for 5 s otherwise
        populated_store.store._writer._lock_ms = 100
    await bulks(target)
    assert await refusal(populated_store.create("late")) == "STORE_UNAVAILABLE"


async def test_what_only_one_store_has_is_named_and_nothing_is_copied(populated_store, target, bulks):
    source, into = await bulks(target)
    theirs, mine = await source.tables(), await into.tables()
    with pytest.raises(CopyError, match=r"only the source has a table pulse2"):
        shared(theirs | {"pulse2": theirs["runs"]}, mine)
    runs = theirs["runs"]
    with pytest.raises(CopyError, match=r"only the target has a column runs\.zeal"):
        shared(theirs, mine | {"runs": runs._replace(columns=(*runs.columns, "zeal"))})


async def test_a_copy_that_differs_is_found_out(populated_store, target, bulks, engine, monkeypatch):
    source, into = await bulks(target)
    kept = into.write

    async def lossy(table, rows, mark):
        await kept(table, rows[1:] if table == "run_receipts" else rows, mark)

    monkeypatch.setattr(into, "write", lossy)
    with pytest.raises(CopyError, match="run_receipts has 1 rows in the source and 0 in the copy"):
        await copy(source, into, lambda *_: None)
