"""The list of replicas: a server registers itself, and removes itself when it stops."""

import os
import sqlite3
from contextlib import closing

from runstead import __version__


def replicas(path):
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT id, pid, url, version FROM replicas").fetchall()


async def test_a_server_is_listed_while_it_serves(live):
    await live.until(lambda: replicas(live.database))
    ((name, *rest),) = replicas(live.database)
    assert rest == [os.getpid(), live.main.url, __version__]
    with closing(sqlite3.connect(live.database)) as connection:
        await live.until(lambda: connection.execute("SELECT owner FROM leadership").fetchone() == (name,))
    live.main.stop()
    await live.task
    assert replicas(live.database) == []
