"""Large values are read as they were written, take less space, and stay readable by SQL where needed."""

import os
import sqlite3
from contextlib import closing

import msgspec
import pytest

from runstead.core import limits

LONG = msgspec.json.encode({"words": ["one", "two", "three"] * 2_000})
SHORT = b'{"a":1}'
NOISE = msgspec.json.encode(os.urandom(6_000).hex()[:5_000])


@pytest.mark.parametrize("value", [LONG, SHORT, NOISE], ids=["long", "short", "noise"])
async def test_what_goes_in_comes_out(driver, value, event):
    await driver.create("run", config=value, input=value, request_snapshot=value)
    text = value.decode()
    await driver.append("run", event("CUSTOM", value=text), event("CUSTOM", value="x"))
    await driver.complete("run", output=value, logs=text)
    run = await driver.row("run")
    assert (run.config, run.input, run.request_snapshot, run.output, run.logs) == (value,) * 4 + (text,)
    assert [run] == await driver.rows()
    payloads = [msgspec.json.decode(one.payload) for one in await driver.log("run")]
    assert [one.get("value") for one in payloads[:2]] == [text, "x"]
    assert (await driver.runs.event(run.seq, 1)).payload == (await driver.whole_log("run"))[0].payload


async def test_logs_that_begin_like_something_compressed_stay_text(driver):
    await driver.create("run")
    await driver.complete("run", logs="x\x9cnot compressed")
    assert (await driver.row("run")).logs == "x\x9cnot compressed"


async def test_a_page_is_as_long_as_its_events_are_when_read(driver, event):
    await driver.create("root")
    await driver.create("run", parent="root")
    for _ in range(4):
        await driver.append("run", event("CUSTOM", value="a" * 100_000))
    run = await driver.row("run")
    page = await driver.runs.events(run.seq, 0, 100, 250_000)
    assert len(page) == 2
    assert len((await driver.runs.family_events(await driver.row("root"), 0, 100, 250_000)).events) == 2


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
async def test_only_what_saves_a_tenth_is_compressed(driver, event, engine):
    await driver.create("run", config=LONG, input=NOISE, title="found")
    await driver.append("run", event("CUSTOM", value="a" * 10_000), event("CUSTOM"))
    with closing(sqlite3.connect(driver.store._path)) as connection:
        config, value = connection.execute("SELECT length(config), length(input) FROM runs").fetchone()
        assert config < len(LONG) / 4
        assert value == len(NOISE) or value <= len(NOISE) * limits.compress_share_max
        rows = connection.execute("SELECT flags & 16, length(payload) FROM run_events ORDER BY id").fetchall()
        assert [flag for flag, _ in rows] == [16, 0]
        assert rows[0][1] < 1_000


@pytest.mark.parametrize("engine", ["postgres"], indirect=True)
async def test_postgres_compresses_by_itself(driver, databases, event, engine):
    await driver.create("run", config=LONG)
    await driver.append("run", event("CUSTOM", value="a" * 10_000))
    sql = "SELECT pg_column_size(config), pg_column_compression(config) FROM runs"
    [(size, how)] = databases.execute(driver.store.database, sql)
    assert size < len(LONG) / 4
    assert how in {"lz4", "pglz"}
    [(stored, how)] = databases.execute(
        driver.store.database,
        "SELECT pg_column_size(payload), pg_column_compression(payload) FROM run_events",
    )
    assert stored < 1_000
    [(offered,)] = databases.execute(
        driver.store.database,
        "SELECT 'lz4' = ANY (enumvals) FROM pg_settings WHERE name = 'default_toast_compression'",
    )
    assert how == ("lz4" if offered else "pglz")
