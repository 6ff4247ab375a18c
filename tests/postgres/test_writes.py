"""A commit group writes by few statements of few shapes, each checked for the number of its rows."""

import asyncio

import asyncpg
import pytest
from msgspec.structs import replace

from runstead.core.runs import transitions
from runstead.core.runs.transition import Transition
from runstead.core.runs.transitions import Completion, Fence
from runstead.engines.postgres.commit.writes import Write, inserted, run_together, updated
from runstead.engines.postgres.sql import APPENDED, BROUGHT, CREATED, STORED


@pytest.fixture
def statements(monkeypatch):
    """The statements that write runs, in order."""
    seen = []

    def note(name):
        ask = getattr(asyncpg.Connection, name)

        async def noted(self, query, *arguments, **options):
            if "INTO run" in query or "UPDATE run" in query:
                seen.append(query)
            return await ask(self, query, *arguments, **options)

        monkeypatch.setattr(asyncpg.Connection, name, noted)

    note("execute")
    note("fetchrow")
    return seen


@pytest.fixture
async def session(databases, database):
    connection = await asyncpg.connect(databases.server.url(database))
    yield connection
    await connection.close()


def rewrite(to, **changes):
    return Transition(transitions.rewrite(to.run, to.now, **changes))


async def test_creating_appending_and_completing_at_once_is_one_statement(driver, event, statements):
    first, second = await driver.create("run-1"), await driver.create("run-2")
    statements.clear()
    await asyncio.gather(
        driver.create("run-3"), driver.append(first.run_id, event(n=1)), driver.complete(second.run_id)
    )
    [statement] = statements
    assert statement.startswith("WITH s0 AS (INSERT INTO runs")
    assert [run.status for run in await driver.rows()] == ["pending", "completed", "pending"]
    assert {run.run_id: run.latest_event_id for run in await driver.rows()} == {
        "run-1": 1,
        "run-2": 1,
        "run-3": 0,
    }


async def test_there_are_few_shapes_of_the_statement_that_writes_a_batch(
    driver, event, idempotent, statements
):
    """New runs with few columns or all, updates of what an append moves, of what moves or more, events or not, idempotency records or not;
    and for a single run those that write one.
    """

    def commands(turn, n, run_id):
        yield lambda: driver.create(f"plain-{turn}-{n}")
        yield lambda: driver.create(f"rare-{turn}-{n}", workflow_id="w", parent=run_id)
        yield lambda: driver.append(run_id, event(n=n))
        yield lambda: driver.claim(limit=1)
        yield lambda: driver.change(run_id, lambda to: rewrite(to, metadata=b"%d" % n, exit_code=n))

    async def write(turn):
        run = await driver.create(f"run-{turn}")
        for n in range(32):
            chosen = [each() for place, each in enumerate(commands(turn, n, run.run_id)) if n & 1 << place]
            await asyncio.gather(*chosen)

    await write(1)
    merged = {statement for statement in statements if statement.startswith("WITH s0")}
    assert 4 < len(merged) <= 3 * 4 * 2 * 2 - 1 + 6
    known = set(statements)
    statements.clear()
    await write(2)
    assert set(statements) <= known


async def test_an_append_writes_only_what_it_moves(driver, event, statements):
    runs = [await driver.create(f"run-{n}") for n in range(3)]
    statements.clear()
    await driver.append("run-0", event(n=1))
    await asyncio.gather(driver.append("run-1", event(n=1)), driver.append("run-2", event(n=1)))
    assert len(statements) == 2
    assert all("version" in statement and "lease_token" not in statement for statement in statements)
    for run in runs:
        row = await driver.row(run.run_id)
        moved = {name: getattr(row, name) for name in APPENDED}
        assert row == replace(run, **moved)
        assert (row.version, row.latest_event_id, row.latest_external_event_sequence) == (2, 1, 1)


async def test_a_run_that_is_written_by_itself_is_stored_as_those_that_are_written_together(
    driver, event, idempotent
):
    """Its values are the arguments of its statement, not arrays of them."""
    metadata = b'{"inputTokens":1}'

    async def live(name):
        await driver.create(name, title="a 'quoted' \N{SNOWMAN}")
        await driver.claim(kinds=("task",), limit=1)
        await driver.append(name, event(n=1), event(n=2))
        await driver.complete(name, metadata=metadata, idempotency=idempotent(f"key-{name}"))

    await live("alone")
    await asyncio.gather(live("first"), live("third"))
    alone, first, third = [await driver.row(name) for name in ("alone", "first", "third")]
    own = {name for name in STORED if name.endswith(("_at", "_ms", "seq"))}
    own |= {"uid", "run_id", "root_run_id", "lease_token"}
    for other in (first, third):
        assert replace(other, **{name: getattr(alone, name) for name in own}) == alone
        payloads = [
            [stored.payload for stored in await driver.log(name)][:2] for name in ("alone", other.run_id)
        ]
        assert payloads[0] == payloads[1]
    assert await driver.store.rollups.add_entries(10) == 3
    assert await driver.store.rollups.integrity() == []


def test_columns_that_new_runs_go_without_may_be_null(sql):
    needed = sql(
        "SELECT column_name FROM information_schema.columns WHERE table_name = 'runs'"
        " AND (is_nullable = 'NO' OR column_default IS NOT NULL) AND column_name <> 'familied'"
    )
    assert {row[0] for row in needed} <= set(CREATED)


def test_no_index_of_runs_knows_a_column_that_an_append_changes(sql):
    """Else every append would write every index: PostgreSQL leaves them alone only where none of them, nor a condition of
    theirs, has a column that was changed.
    """
    known = sql(
        "SELECT DISTINCT a.attname FROM pg_index AS i"
        " JOIN pg_depend AS d ON d.classid = 'pg_class'::regclass AND d.objid = i.indexrelid AND d.refobjid = i.indrelid"
        " JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = d.refobjsubid"
        " WHERE i.indrelid = 'runs'::regclass"
    )
    found = {row[0] for row in known}
    assert {"due_at", "seq", "created_at"} <= found  # of columns, and of conditions
    assert found.isdisjoint(APPENDED)


async def test_a_run_with_a_rare_column_is_stored_whole_beside_plain_ones(driver, statements):
    statements.clear()
    plain, rare = await asyncio.gather(driver.create("run-1"), driver.create("run-2", workflow_id="w-1"))
    assert len(statements) == 1
    assert [await driver.row("run-1"), await driver.row("run-2")] == [plain, rare]
    assert rare.workflow_id == "w-1"


async def test_a_completion_that_brings_nothing_keeps_what_is_there_beside_one_that_brings_much(driver):
    for n in (1, 2):
        await driver.create(f"run-{n}")
        await driver.change(f"run-{n}", lambda to: rewrite(to, metadata=b'{"a":1}', exit_code=3))

    def complete(**brings):
        completion = Completion(status="completed", **brings)
        return lambda to: transitions.complete(to.run, now=to.now, completion=completion, fence=Fence())

    await asyncio.gather(
        driver.change("run-1", complete()),
        driver.change("run-2", complete(output=b"[1]", metadata=b"{}", exit_code=0)),
    )
    one, two = await driver.row("run-1"), await driver.row("run-2")
    assert (one.metadata, one.exit_code, one.output) == (b'{"a":1}', 3, None)
    assert (two.metadata, two.exit_code, two.output) == (b"{}", 0, b"[1]")


@pytest.mark.parametrize("field", BROUGHT)
async def test_a_value_that_is_taken_away_is_taken_away(driver, field):
    value = {"exit_code": 1, "logs": "x"}.get(field, b"{}")
    await driver.create("run-1")
    await driver.change("run-1", lambda to: rewrite(to, **{field: value}))
    await driver.change("run-1", lambda to: rewrite(to, **{field: None}))
    assert getattr(await driver.row("run-1"), field) is None


@pytest.mark.parametrize("few", [False, True])
@pytest.mark.parametrize("company", [False, True])
async def test_a_row_that_is_not_at_the_version_that_was_read_fails_the_write(driver, session, company, few):
    old, other = await driver.create("run-1"), await driver.create("run-2")
    stale = replace(old, version=7)
    changed = [(stale, replace(stale, version=8)), (other, replace(other, version=2))]
    usual, rare = updated(changed[:1] if few else changed)
    assert rare == []
    new = replace(old, seq=10_000, root_seq=10_000, uid="u", run_id="run-3")
    writes = [inserted([new]), usual] if company else [usual]
    transaction = session.transaction()
    await transaction.start()
    with pytest.raises(AssertionError):
        await run_together(session, writes, few=few)
    await transaction.rollback()
    assert [run.version for run in (await driver.row("run-1"), await driver.row("run-2"))] == [1, 1]


async def test_places_of_arguments_move_along_with_the_statements(session):
    await session.execute("CREATE TEMPORARY TABLE seen (a bigint, b text)")
    add = "INSERT INTO seen SELECT * FROM unnest($1::bigint[], $2::text[])"
    change = "UPDATE seen SET b = 'x' WHERE a = ANY ($1::bigint[])"
    await run_together(session, [Write(add, [(n, str(n)) for n in range(12)])])
    await run_together(
        session, [Write(add, [(20, "20")]), Write(change, [(3,), (4,)]), Write(add, [(21, "21"), (22, "22")])]
    )
    assert await session.fetchval("SELECT count(*) FROM seen WHERE b = 'x' AND a IN (3, 4)") == 2
    assert await session.fetchval("SELECT count(*) FROM seen") == 15
