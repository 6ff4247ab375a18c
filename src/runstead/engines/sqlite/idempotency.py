"""Answers to idempotency keys, looked up before a command and stored with its effect."""

import sqlite3
from typing import TypeVar

from runstead.core.errors import Error
from runstead.core.idempotency import IdempotencyRecord, ReplayedResponse
from runstead.engines.sqlite.sql import Q
from runstead.engines.sqlite.writer import Job

T = TypeVar("T")


def idempotent(job: Job[T], idempotency: IdempotencyRecord | None) -> Job[T]:
    if idempotency is None:
        return job

    def with_record(connection: sqlite3.Connection, now: int) -> T:
        stored = connection.execute(Q["idempotency_record"], (idempotency.owner, idempotency.key)).fetchone()
        if stored is not None:
            digest, status, body = stored
            if digest != idempotency.digest:
                raise Error(
                    "IDEMPOTENCY_KEY_REUSED",
                    "This Idempotency-Key was used for another request; take a new key for a new request",
                )
            raise ReplayedResponse(status, body)
        result = job(connection, now)
        answer = idempotency.render(result)
        if answer is not None:
            connection.execute(
                Q["add_idempotency_record"],
                (idempotency.owner, idempotency.key, idempotency.digest, *answer, now),
            )
        return result

    return with_record
