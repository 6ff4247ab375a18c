"""A pool of reader threads, each with its own read-only connection."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

from runstead.core import limits
from runstead.engines.sqlite.connection import trouble_with

T = TypeVar("T")


class Readers:
    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        self._connect = connect
        self._local = threading.local()
        self._open: list[sqlite3.Connection] = []
        self._pool = ThreadPoolExecutor(limits.readers_max, thread_name_prefix="sqlite-reader")
        self.waiting = 0  # unfinished reads

    async def do(self, read: Callable[[sqlite3.Connection], T]) -> T:
        """Run the read in a thread. It sees every commit that was acknowledged before the call."""
        self.waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, self._read, read)
        finally:
            self.waiting -= 1

    def _read(self, read: Callable[[sqlite3.Connection], T]) -> T:
        try:
            connection = getattr(self._local, "connection", None)
            if connection is None:
                connection = self._local.connection = self._connect()
                self._open.append(connection)
            return read(connection)
        except sqlite3.Error as error:
            raise trouble_with(error, "read") from error

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(None, self._pool.shutdown)
        for connection in self._open:
            with suppress(sqlite3.Error):
                connection.close()
