"""The servers of the store."""

from typing import Protocol

from runstead.core.replica import Replica


class Replicas(Protocol):
    async def note(self, replica: Replica) -> Replica:
        """It is seen now, and started with the first such call. Those that were not seen for `limits.replica_silence_s`
        are forgotten.
        """
        ...

    async def all(self) -> list[Replica]:
        """Those that were seen within `limits.replica_silence_s`, the longest running first."""
        ...

    async def leave(self, replica_id: str) -> None:
        """It is no more."""
        ...
