"""Stores of tests get sessions that earlier tests have used: with their statements, and with nothing else."""

import pytest

from runstead.engines.postgres.connection import connect

STATE = "SELECT current_setting('statement_timeout'), count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"


@pytest.fixture
async def url(postgres_store):
    store = postgres_store()
    await store.open()
    yield store._url
    await store.close()


async def test_a_session_is_used_again_without_its_settings_locks_and_transaction(url):
    first = await connect(url)
    pid, state = await first.fetchval("SELECT pg_backend_pid()"), await first.fetchrow(STATE)
    await first.execute("SET statement_timeout = 7000; BEGIN; SELECT pg_advisory_lock(1)")
    await first.close()
    again = await connect(url)
    assert await again.fetchval("SELECT pg_backend_pid()") == pid
    assert not again.is_in_transaction()
    assert await again.fetchrow(STATE) == state
    await again.close()


async def test_a_session_with_other_settings_or_that_was_ended_is_a_new_one(url):
    first = await connect(url)
    pid = await first.fetchval("SELECT pg_backend_pid()")
    await first.close()
    other = await connect(url, statement_timeout="7000")
    assert await other.fetchval("SELECT pg_backend_pid()") != pid
    other.terminate()
    again = await connect(url, statement_timeout="7000")
    assert await again.fetchval("SHOW statement_timeout") == "7s"
    await again.close()
