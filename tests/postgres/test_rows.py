"""How rows are sent: arrays of numbers as text."""

from runstead.core import limits
from runstead.engines.postgres.connection import connect
from runstead.engines.postgres.rows import text_of
from runstead.engines.postgres.sql import numbers, of_one, update_runs


async def test_postgresql_reads_an_array_of_numbers_from_its_text(databases, database):
    connection = await connect(databases.server.url(database))
    try:
        for given in ([], [None], [0, -1, None, limits.integer_max, -(1 << 63), (1 << 63) - 1]):
            assert await connection.fetchval("SELECT $1::text::bigint[]", text_of(given)) == given
    finally:
        await connection.close()


def test_numbers_are_sent_as_text_in_arrays_only():
    statement = update_runs(("version", "title", "due_at"))
    assert numbers(statement) == {0, 1, 2, 4}  # the two that find the row, and those that are no texts
    assert numbers(of_one(statement)) == frozenset()
