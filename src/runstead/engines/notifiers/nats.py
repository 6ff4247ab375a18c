"""Notifications to the other replicas over NATS, which saves the database that load."""

from typing import Final

import nats
from nats.aio.msg import Msg

from runstead.core import limits
from runstead.engines.notifiers.relay import Relay
from runstead.ports.notifier import Notifier

SUBJECT: Final = "runstead.hints"


class NatsNotifier(Relay):
    """`url`: one address or several, separated by commas."""

    carrier = "nats"

    def __init__(self, url: str, local: Notifier) -> None:
        super().__init__(local)
        self._servers = [server.strip() for server in url.split(",")]

    async def _connect_and_send(self) -> None:
        async def disconnected() -> None:
            self._on_disconnected()

        async def receive(message: Msg) -> None:
            self._receive(message.data.decode())

        client = await nats.connect(
            self._servers,
            name="runstead",
            no_echo=True,
            allow_reconnect=False,  # the relay reconnects, and then wakes all subscribers
            connect_timeout=limits.connect_s,
            disconnected_cb=disconnected,
            closed_cb=disconnected,
        )
        try:
            await client.subscribe(SUBJECT, cb=receive)
            for _ in range(2):  # the first ping may overtake the subscription; the second cannot
                await client.flush(limits.connect_s)
            self._on_connected()
            await self._send(
                lambda message: client.publish(SUBJECT, message.encode()),
                lambda: client.flush(limits.connect_s),
            )
        finally:
            await client.close()
