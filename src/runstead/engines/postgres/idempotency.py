"""Idempotency records, looked up before a command and stored with its effect."""

from collections.abc import Iterable
from typing import Any, TypeVar

from runstead.core.errors import Error
from runstead.core.idempotency import Idempotency
from runstead.engines.postgres.commit.jobs import Job
from runstead.engines.postgres.connection import Connection
from runstead.engines.postgres.sql import Q

T = TypeVar("T")
_Response = tuple[int, bytes]


class IdempotencyRecords:
    """The idempotency records of one transaction: stored ones, and those that it adds."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._stored: dict[tuple[str, str], tuple[bytes, int, bytes]] = {}

    async def load(self, records: Iterable[Idempotency]) -> None:
        wanted = {(idempotency.owner, idempotency.key) for idempotency in records if idempotency is not None}
        if not wanted:
            return
        owners, keys = zip(*wanted, strict=True)
        for owner, key, *stored in await self._connection.fetch(Q["idempotency_records"], owners, keys):
            self._stored[owner, key] = (stored[0], stored[1], stored[2])

    def known(self, idempotency: Idempotency) -> bool:
        return idempotency is not None and (idempotency.owner, idempotency.key) in self._stored

    def replay(self, idempotency: Idempotency) -> None:
        """If the key was used, raise ReplayedResponse or IDEMPOTENCY_KEY_REUSED."""
        if idempotency is not None and self.known(idempotency):
            idempotency.replay(*self._stored[idempotency.owner, idempotency.key])

    async def look_again(self, idempotency: Idempotency) -> None:
        """Load and replay the record again, for a refused command: another transaction may have used the key and caused
        the conflict. Raises as `replay`.
        """
        if idempotency is not None and not self.known(idempotency):
            await self.load([idempotency])
            self.replay(idempotency)

    def answer(self, idempotency: Idempotency, result: Any) -> _Response | None:
        """The response to store for the key, if any. Later commands of this transaction replay it."""
        answer = None if idempotency is None else idempotency.render(result)
        if idempotency is not None and answer is not None:
            self._stored[idempotency.owner, idempotency.key] = (idempotency.digest, *answer)
        return answer


def idempotent(job: Job[T], idempotency: Idempotency) -> Job[T]:
    if idempotency is None:
        return job

    async def with_record(connection: Connection, now: int) -> T:
        records = IdempotencyRecords(connection)
        await records.load([idempotency])
        records.replay(idempotency)
        try:
            result = await job(connection, now)
        except Error:
            await records.look_again(idempotency)
            raise
        answer = records.answer(idempotency, result)
        if answer is not None:
            row = (idempotency.owner, idempotency.key, idempotency.digest, *answer, now)
            await connection.execute(Q["add_idempotency_records"], *([value] for value in row))
        return result

    return with_record
