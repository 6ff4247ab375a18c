"""The commit benchmark measures the engine without the work of the product."""

import pytest

from runstead.engines.postgres.commit_benchmark import updates_per_second


async def test_the_floor_counts_commits_and_leaves_nothing_behind(databases, database, sql):
    tables = "SELECT count(*) FROM pg_class WHERE relkind = 'r'"
    before = sql(tables)
    assert await updates_per_second(databases.server.url(database), concurrency=4, seconds=0.2) > 10
    assert sql(tables) == before


async def test_a_database_that_is_not_there_is_named_in_a_sentence():
    with pytest.raises(RuntimeError, match=r"cannot use the database 127\.0\.0\.1:1/none: "):
        await updates_per_second("postgresql://user:secret@127.0.0.1:1/none", concurrency=1, seconds=0.1)
