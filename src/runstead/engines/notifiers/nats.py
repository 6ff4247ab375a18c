"""Hints to the other replicas over NATS, for deployments whose database has enough to do."""

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

    async def _carry(self) -> None:
        async def lose() -> None:
            self._lose()

        async def hear(message: Msg) -> None:
            self._hear(message.data.decode())

        client = await nats.connect(
            self._servers,
            name="runstead",
            no_echo=True,
            allow_reconnect=False,  # done by the relay, which also wakes everybody afterwards
            connect_timeout=limits.connect_s,
            disconnected_cb=lose,
            closed_cb=lose,
        )
        try:
            await client.subscribe(SUBJECT, cb=hear)
            for _ in range(2):  # the first ping may overtake the subscription; the second cannot
                await client.flush(limits.connect_s)
            self._joined()
            await self._send(
                lambda message: client.publish(SUBJECT, message.encode()),
                lambda: client.flush(limits.connect_s),
            )
        finally:
            await client.close()
