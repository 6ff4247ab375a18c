"""A dump that is made as docs/backup.md describes can be restored into an empty database."""

import asyncio
import os

import asyncpg

from runstead.server import administration
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
