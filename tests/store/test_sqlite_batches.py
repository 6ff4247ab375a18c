"""A new batch holds SQLite's writer for few statements, and leaves the writer's cache to the other tenants."""

import pytest


@pytest.fixture
async def driver(driver_at, tmp_path):
    return await driver_at(tmp_path / "one.db")


@pytest.fixture
def statements(driver):
    """statements(command): how many statements the writer's connection executed."""

    async def count(command):
        executed = []
        connection = driver.store._writer._connection
        connection.set_trace_callback(executed.append)
        try:
            await command
        finally:
            connection.set_trace_callback(None)
        return len(executed)

    return count


IDS = [f"run-{n}" for n in range(1_000)]


async def test_a_thousand_runs_are_stored_with_few_statements(driver, statements):
    assert await statements(driver.create_batch(*IDS)) < 20
    assert len(await driver.rows()) == 1_000


async def test_a_thousand_children_are_stored_with_few_statements(driver, statements):
    await driver.create("root")
    await driver.create("parent", parent="root")
    assert await statements(driver.create_batch(*IDS, parent="parent")) < 20
    for name, total in (("root", 1_001), ("parent", 1_000)):
        run = await driver.row(name)
        assert (run.descendants_total, run.descendants_active) == (total, total)


async def test_a_new_batch_leaves_the_runs_that_the_writer_knows(driver):
    await driver.create("run-of-another")
    await driver.create_batch(*IDS)
    assert driver.store._writer.cache.get(driver.key("run-of-another")) is not None
    assert len(driver.store._writer.cache) == 1


async def test_a_parent_that_the_writer_knows_counts_its_new_children(driver):
    await driver.create("parent")
    await driver.create_batch("a", "b", parent="parent")
    written = await driver.touch("parent", title="known")
    assert (written.before.descendants_total, written.run.descendants_total) == (2, 2)
    assert written.run == await driver.row("parent")


async def test_new_runs_follow_the_numbers_that_were_used(driver):
    """Seqs of deleted runs are not used again."""
    await driver.create("first")
    await driver.create_batch("a", "b")
    await driver.cancel("b")
    await driver.delete("b")
    made = await driver.create_batch("c", "d")
    after = await driver.create("after")
    assert [one.run.seq for one in made.runs] == [4, 5]
    assert (after.seq, after.root_seq) == (6, 6)
