"""The replicas of the server that use the store."""

from typing import Protocol

from runstead.core.replica import Replica


class Replicas(Protocol):
    async def note(self, replica: Replica) -> Replica:
        """Record a heartbeat; the first one also sets `started_at`. Replicas without a heartbeat for
        `limits.replica_silence_s` are deleted.
        """

    async def all(self) -> list[Replica]:
        """Return the replicas with a heartbeat in the last `limits.replica_silence_s`, oldest start first."""

    async def leave(self, replica_id: str) -> None:
        """Delete the replica, because it has stopped."""
