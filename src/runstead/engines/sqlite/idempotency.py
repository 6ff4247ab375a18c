"""Idempotency records, looked up before a command and stored with its effect."""

import sqlite3
from typing import TypeVar

from runstead.core.idempotency import Idempotency
from runstead.engines.sqlite.sql import Q
from runstead.engines.sqlite.writer import Job

T = TypeVar("T")


def idempotent(job: Job[T], idempotency: Idempotency) -> Job[T]:
    if idempotency is None:
        return job

    def with_record(connection: sqlite3.Connection, now: int) -> T:
        stored = connection.execute(Q["idempotency_record"], (idempotency.owner, idempotency.key)).fetchone()
        if stored is not None:
            idempotency.replay(*stored)
        result = job(connection, now)
        response = idempotency.render(result)
        if response is not None:
            connection.execute(
                Q["add_idempotency_record"],
                (idempotency.owner, idempotency.key, idempotency.digest, *response, now),
            )
        return result

    return with_record
