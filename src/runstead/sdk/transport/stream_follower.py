"""What every follower of a stream does about connections, without I/O: what came back, and when to try again."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Final, Generic, TypeVar

from runstead.sdk.errors import RunsteadError, UnexpectedAnswerError, refusal
from runstead.sdk.routes.call import Call
from runstead.sdk.transport.message import Response
from runstead.sdk.transport.retry import Retries
from runstead.sdk.transport.sse import Parser

Item = TypeVar("Item")

#: A live connection carries a comment every 15 s. Three of them missing mean that it is dead.
SILENCE_S: Final = 45.0


class StreamFollower(ABC, Generic[Item]):
    """Base of followers. Per connection: `call()`, `opened()` once the head of the answer is there, `feed()` for every
    chunk, and `broke()` when it ended. `done`: what was fed last was the end.
    """

    done = False

    def __init__(self, retries: Retries) -> None:
        self._retries = retries
        self._failures = 0
        self._parser = Parser()

    @abstractmethod
    def call(self) -> Call[None]:
        """How the next connection is asked for."""

    @abstractmethod
    def feed(self, chunk: bytes) -> Iterator[Item]:
        """What a part of the stream tells."""

    def opened(self, response: Response, name: str) -> RunsteadError | None:
        """What is wrong with the answer to the call of this name, None where it is a stream. The body of one outside 2xx
        must have been read.
        """
        if not response.is_success:
            after = self._retries.retry_after_s(response.headers.get("retry-after"))
            return refusal(response.status, response.content, name, after)
        if not response.headers.get("content-type", "").startswith("text/event-stream"):
            return UnexpectedAnswerError(f"{name} was not answered with a stream", response.status)
        return None

    def broke(self, error: RunsteadError | None = None) -> float:
        """The connection ended; the seconds to wait before the next one. Raises where it cannot get better or has not
        for too long.
        """
        self._failures += 1
        if error is not None:
            too_long = (error.retry_after_s or 0.0) > self._retries.max_retry_after_s
            if not error.retryable or too_long or self._failures > self._retries.times:
                raise error
            return self._retries.delay_s(self._failures - 1, error.retry_after_s)
        asked_s = self._parser.retry_ms / 1000 if self._parser.retry_ms is not None else None
        return self._retries.delay_s(self._failures - 1, asked_s)
