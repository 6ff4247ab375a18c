"""A server tells the others that it is there, and that it leaves."""

import os
import sqlite3
from contextlib import closing

from runstead import __version__


def told(path):
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT id, pid, url, version FROM replicas").fetchall()


async def test_a_server_is_listed_while_it_serves(live):
    await live.until(lambda: told(live.database))
    ((name, *rest),) = told(live.database)
    assert rest == [os.getpid(), live.main.url, __version__]
    with closing(sqlite3.connect(live.database)) as connection:
        await live.until(lambda: connection.execute("SELECT owner FROM leadership").fetchone() == (name,))
    live.main.stop()
    await live.task
    assert told(live.database) == []
