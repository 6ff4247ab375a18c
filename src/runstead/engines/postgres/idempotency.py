"""Answers to idempotency keys, looked up before a command and stored with its effect."""

from collections.abc import Iterable
from typing import Any, TypeVar

from runstead.core.errors import Error
from runstead.core.idempotency import Replay, Seal
from runstead.engines.postgres.commit.jobs import Job
from runstead.engines.postgres.connection import Connection
from runstead.engines.postgres.sql import Q

T = TypeVar("T")
_Answer = tuple[int, bytes]


class Seals:
    """The keys of one transaction: those that were answered before, and those that it answers itself."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._stored: dict[tuple[str, str], tuple[bytes, int, bytes]] = {}

    async def load(self, seals: Iterable[Seal | None]) -> None:
        wanted = {(seal.owner, seal.key) for seal in seals if seal is not None}
        if not wanted:
            return
        owners, keys = zip(*wanted, strict=True)
        for owner, key, *stored in await self._connection.fetch(Q["seals"], owners, keys):
            self._stored[owner, key] = (stored[0], stored[1], stored[2])

    def known(self, seal: Seal | None) -> bool:
        return seal is not None and (seal.owner, seal.key) in self._stored

    def replay(self, seal: Seal | None) -> None:
        """Raise the stored answer, or IDEMPOTENCY_KEY_REUSED, where the key was used."""
        stored = None if seal is None else self._stored.get((seal.owner, seal.key))
        if seal is None or stored is None:
            return
        digest, status, body = stored
        if digest != seal.digest:
            raise Error(
                "IDEMPOTENCY_KEY_REUSED",
                "This Idempotency-Key was used for another request; take a new key for a new request",
            )
        raise Replay(status, body)

    async def look_again(self, seal: Seal | None) -> None:
        """For a command that is refused: another transaction may have used its key meanwhile, and done what is in this one's
        way. Raises as `replay`.
        """
        if seal is not None and not self.known(seal):
            await self.load([seal])
            self.replay(seal)

    def answer(self, seal: Seal | None, result: Any) -> _Answer | None:
        """What is to be kept for the key, if anything. Who comes after it in this transaction gets it too."""
        answer = None if seal is None else seal.render(result)
        if seal is not None and answer is not None:
            self._stored[seal.owner, seal.key] = (seal.digest, *answer)
        return answer


def sealed(job: Job[T], seal: Seal | None) -> Job[T]:
    if seal is None:
        return job

    async def with_seal(connection: Connection, now: int) -> T:
        seals = Seals(connection)
        await seals.load([seal])
        seals.replay(seal)
        try:
            result = await job(connection, now)
        except Error:
            await seals.look_again(seal)
            raise
        answer = seals.answer(seal, result)
        if answer is not None:
            row = (seal.owner, seal.key, seal.digest, *answer, now)
            await connection.execute(Q["add_seals"], *([value] for value in row))
        return result

    return with_seal
