"""Hints to the other replicas by LISTEN and NOTIFY, on a session of their own; none while there is no other replica."""

import time
from typing import Final

from runstead.core import limits
from runstead.engines.notifiers.relay import Relay
from runstead.engines.postgres.connection import Connection, connect
from runstead.engines.postgres.sql import LISTENING
from runstead.ports.notifier import Notifier

CHANNEL: Final = "runstead_hints"

_NOTIFY: Final = "SELECT pg_notify($1, $2)"
#: Every session that listens holds this lock for as long as it lives, and shares it.
_TAKE: Final = f"SELECT pg_advisory_lock_shared({LISTENING}, 0)"
_OTHERS: Final = f"""
SELECT count(*) FROM pg_locks
WHERE locktype = 'advisory' AND classid = {LISTENING} AND objid = 0 AND objsubid = 2 AND pid <> pg_backend_pid()
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""  # noqa: S608 - our own number


class PostgresNotifier(Relay):
    """Needs a session that stays: behind a pooler that lends sessions per transaction, nothing is heard."""

    carrier = "postgres"

    def __init__(self, url: str, local: Notifier) -> None:
        super().__init__(local)
        self._url = url
        self._looked_at = 0.0

    async def _carry(self) -> None:
        # A hint is worth no wait for the disk.
        connection = await connect(self._url, application_name="runstead hints", synchronous_commit="off")

        async def notify(message: str) -> None:
            await connection.execute(_NOTIFY, CHANNEL, message)
            if time.monotonic() - self._looked_at > limits.notification_listeners_s:
                await self._look(connection)

        try:
            connection.add_termination_listener(self._lose)
            # In this order (docs/decisions/0022): hear greetings, be seen, greet, and only then see who else is there.
            await connection.add_listener(CHANNEL, self._notified)
            await connection.execute(_TAKE)
            await connection.execute(_NOTIFY, CHANNEL, self._greeting())
            await self._look(connection)
            self._joined()
            await self._send(notify, lambda: self._look(connection))
        finally:
            self._speak()  # until it is connected again, no greeting is heard
            connection.terminate()

    async def _look(self, connection: Connection) -> None:
        """Whether any other replica listens. One that takes the lock after this look greets after it, too."""
        greetings = self._greetings
        self._looked_at = time.monotonic()
        if await connection.fetchval(_OTHERS):
            self._speak()
        elif greetings == self._greetings:
            self._fall_silent()

    def _notified(self, _connection: Connection, _pid: int, _channel: str, message: object) -> None:
        self._hear(str(message))
