"""Hints to the other replicas by LISTEN and NOTIFY, on a session of their own."""

from typing import Final

from runstead.notifier import Notifier
from runstead.postgres.connection import Connection, connect
from runstead.relay import Relay

CHANNEL: Final = "runstead_hints"


class PostgresNotifier(Relay):
    """Needs a session that stays: behind a pooler that lends sessions per transaction, nothing is heard."""

    carrier = "postgres"

    def __init__(self, url: str, local: Notifier) -> None:
        super().__init__(local)
        self._url = url

    async def _carry(self) -> None:
        # A hint is worth no wait for the disk.
        connection = await connect(self._url, application_name="runstead hints", synchronous_commit="off")
        try:
            connection.add_termination_listener(self._lose)
            await connection.add_listener(CHANNEL, self._notified)
            self._joined()
            await self._send(
                lambda message: connection.execute("SELECT pg_notify($1, $2)", CHANNEL, message),
                lambda: connection.execute("SELECT 1"),
            )
        finally:
            connection.terminate()

    def _notified(self, _connection: Connection, _pid: int, _channel: str, message: object) -> None:
        self._hear(str(message))
