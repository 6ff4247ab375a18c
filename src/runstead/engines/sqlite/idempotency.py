"""Answers to idempotency keys, looked up before a command and stored with its effect."""

import sqlite3
from typing import TypeVar

from runstead.core.errors import Error
from runstead.core.idempotency import Replay, Seal
from runstead.engines.sqlite.sql import Q
from runstead.engines.sqlite.writer import Job

T = TypeVar("T")


def sealed(job: Job[T], seal: Seal | None) -> Job[T]:
    if seal is None:
        return job

    def with_seal(connection: sqlite3.Connection, now: int) -> T:
        stored = connection.execute(Q["seal"], (seal.owner, seal.key)).fetchone()
        if stored is not None:
            digest, status, body = stored
            if digest != seal.digest:
                raise Error(
                    "IDEMPOTENCY_KEY_REUSED",
                    "This Idempotency-Key was used for another request; take a new key for a new request",
                )
            raise Replay(status, body)
        result = job(connection, now)
        answer = seal.render(result)
        if answer is not None:
            connection.execute(Q["add_seal"], (seal.owner, seal.key, seal.digest, *answer, now))
        return result

    return with_seal
