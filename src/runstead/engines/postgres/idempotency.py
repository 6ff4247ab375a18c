"""Answers to idempotency keys, looked up before a command and stored with its effect."""

from collections.abc import Iterable
from typing import Any, TypeVar

from runstead.core.errors import Error
from runstead.core.idempotency import IdempotencyRecord, ReplayedResponse
from runstead.engines.postgres.commit.jobs import Job
from runstead.engines.postgres.connection import Connection
from runstead.engines.postgres.sql import Q

T = TypeVar("T")
_Answer = tuple[int, bytes]


class IdempotencyRecords:
    """The keys of one transaction: those that were answered before, and those that it answers itself."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._stored: dict[tuple[str, str], tuple[bytes, int, bytes]] = {}

    async def load(self, idempotency_records: Iterable[IdempotencyRecord | None]) -> None:
        wanted = {
            (idempotency.owner, idempotency.key)
            for idempotency in idempotency_records
            if idempotency is not None
        }
        if not wanted:
            return
        owners, keys = zip(*wanted, strict=True)
        for owner, key, *stored in await self._connection.fetch(Q["idempotency_records"], owners, keys):
            self._stored[owner, key] = (stored[0], stored[1], stored[2])

    def known(self, idempotency: IdempotencyRecord | None) -> bool:
        return idempotency is not None and (idempotency.owner, idempotency.key) in self._stored

    def replay(self, idempotency: IdempotencyRecord | None) -> None:
        """Raise the stored answer, or IDEMPOTENCY_KEY_REUSED, where the key was used."""
        stored = None if idempotency is None else self._stored.get((idempotency.owner, idempotency.key))
        if idempotency is None or stored is None:
            return
        digest, status, body = stored
        if digest != idempotency.digest:
            raise Error(
                "IDEMPOTENCY_KEY_REUSED",
                "This Idempotency-Key was used for another request; take a new key for a new request",
            )
        raise ReplayedResponse(status, body)

    async def look_again(self, idempotency: IdempotencyRecord | None) -> None:
        """For a command that is refused: another transaction may have used its key meanwhile, and done what is in this one's
        way. Raises as `replay`.
        """
        if idempotency is not None and not self.known(idempotency):
            await self.load([idempotency])
            self.replay(idempotency)

    def answer(self, idempotency: IdempotencyRecord | None, result: Any) -> _Answer | None:
        """What is to be kept for the key, if anything. Who comes after it in this transaction gets it too."""
        answer = None if idempotency is None else idempotency.render(result)
        if idempotency is not None and answer is not None:
            self._stored[idempotency.owner, idempotency.key] = (idempotency.digest, *answer)
        return answer


def idempotent(job: Job[T], idempotency: IdempotencyRecord | None) -> Job[T]:
    if idempotency is None:
        return job

    async def with_record(connection: Connection, now: int) -> T:
        idempotency_records = IdempotencyRecords(connection)
        await idempotency_records.load([idempotency])
        idempotency_records.replay(idempotency)
        try:
            result = await job(connection, now)
        except Error:
            await idempotency_records.look_again(idempotency)
            raise
        answer = idempotency_records.answer(idempotency, result)
        if answer is not None:
            row = (idempotency.owner, idempotency.key, idempotency.digest, *answer, now)
            await connection.execute(Q["add_idempotency_records"], *([value] for value in row))
        return result

    return with_record
