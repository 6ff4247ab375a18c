"""Dumps as docs/backup.md describes them, and `runstead backup`, are restored into empty databases."""

import asyncio
import os

import asyncpg
import pytest

from runstead.core.backup import BackupError
from runstead.engines.postgres.bulk import PostgresBulk
from runstead.server import administration, backup
from tests.docs.pages import blocks, name
from tests.support.postgres_server import INSTALLED

(COMMANDS,) = [
    block.text.replace("$ ", "")
    for block in blocks("console")
    if name(block.page) == "docs/backup.md" and "pg_dump" in block.text
]


async def test_a_dump_is_restored_with_every_run(databases, database, driver, tmp_path):
    await driver.create()
    admin = await asyncpg.connect(databases.server.url())
    await admin.execute("CREATE DATABASE restored")
    urls = {
        "RUNSTEAD_DATABASE_URL": databases.server.url(database),
        "RESTORED_URL": databases.server.url("restored"),
    }
    path = f"{INSTALLED / 'bin'}{os.pathsep}{os.environ['PATH']}"
    try:
        command = await asyncio.create_subprocess_exec(
            "sh", "-ec", COMMANDS, cwd=tmp_path, env=os.environ | urls | {"PATH": path}
        )
        assert await command.wait() == 0
        violations = []
        checked, _ = await administration.check(urls["RESTORED_URL"], violations.append, lambda *_: None)
        assert (checked, violations) == (1, [])
    finally:
        await admin.execute("DROP DATABASE restored WITH (FORCE)")
        await admin.close()


async def test_a_snapshot_blocks_no_writer_and_sees_no_later_write(databases, database, driver, sql):
    await driver.create()
    bulk = PostgresBulk(databases.server.url(database))
    await bulk.open_source(online=True)
    try:
        await driver.create()
        assert await bulk.count("runs") == 1
        [partition] = sql(
            "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'run_events'::regclass LIMIT 1"
        )[0]
        sql("SET lock_timeout = 100")
        with pytest.raises(asyncpg.LockNotAvailableError):  # retention would drop it
            sql(f"DROP TABLE {partition}")
    finally:
        sql("RESET lock_timeout")
        await bulk.close()


async def test_a_backup_is_restored_to_either_engine(databases, database, driver, tmp_path):
    for _ in range(3):
        await driver.create()
    url, place = databases.server.url(database), str(tmp_path / "place")
    saved = await backup.backup(url, place, lambda *_: None)
    assert (saved.manifest.engine, saved.manifest.runs) == ("postgresql", 3)
    faults = []
    await backup.verify(place, None, lambda *_: None, faults.append)
    assert faults == []
    empty = databases.lease()
    for target in (f"sqlite:///{tmp_path / 'new.db'}", databases.server.url(empty)):
        restored = await backup.restore(place, target, lambda *_: None, print)
        assert (restored.runs, restored.violations) == (3, [])
    with pytest.raises(BackupError, match="the database is not empty: it has rows in"):
        await backup.restore(place, databases.server.url(empty), lambda *_: None, print)
    databases.give_back(empty)
