"""Notifications to the other replicas by LISTEN and NOTIFY, on a separate session."""

import time
from typing import Final

from runstead.core import limits
from runstead.engines.notifiers.relay import Relay
from runstead.engines.postgres.connection import Connection, connect
from runstead.engines.postgres.sql import LISTENING
from runstead.ports.notifier import Notifier

CHANNEL: Final = "runstead_hints"

_NOTIFY: Final = "SELECT pg_notify($1, $2)"
#: Every listening session holds this shared lock until it ends.
_LOCK: Final = f"SELECT pg_advisory_lock_shared({LISTENING}, 0)"
_OTHERS: Final = f"""
SELECT count(*) FROM pg_locks
WHERE locktype = 'advisory' AND classid = {LISTENING} AND objid = 0 AND objsubid = 2 AND pid <> pg_backend_pid()
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""  # noqa: S608 - a constant


class PostgresNotifier(Relay):
    """Needs a session of its own: LISTEN does not work behind a pooler in transaction mode."""

    carrier = "postgres"

    def __init__(self, url: str, local: Notifier) -> None:
        super().__init__(local)
        self._url = url
        self._checked_at = 0.0

    async def _connect_and_send(self) -> None:
        # A notification does not need to wait for the disk.
        connection = await connect(
            self._url, application_name="runstead notifications", synchronous_commit="off"
        )

        async def notify(message: str) -> None:
            await connection.execute(_NOTIFY, CHANNEL, message)
            if time.monotonic() - self._checked_at > limits.notification_listeners_s:
                await self._check_listeners(connection)

        try:
            connection.add_termination_listener(self._on_disconnected)
            # The order matters (docs/decisions/0022): listen, take the lock, greet, and only then check for listeners.
            await connection.add_listener(CHANNEL, self._notified)
            await connection.execute(_LOCK)
            await connection.execute(_NOTIFY, CHANNEL, self._greeting())
            await self._check_listeners(connection)
            self._on_connected()
            await self._send(notify, lambda: self._check_listeners(connection))
        finally:
            self._start_sending()  # while disconnected, no greeting can arrive
            connection.terminate()

    async def _check_listeners(self, connection: Connection) -> None:
        """Send only if another replica listens. A replica that takes the lock after this check also greets after it."""
        greetings = self._greetings
        self._checked_at = time.monotonic()
        if await connection.fetchval(_OTHERS):
            self._start_sending()
        elif greetings == self._greetings:
            self._stop_sending()

    def _notified(self, _connection: Connection, _pid: int, _channel: str, message: object) -> None:
        self._receive(str(message))
