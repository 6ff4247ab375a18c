"""Base of the followers of streams, without I/O: parses a stream and decides when to reconnect."""

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator
from typing import Any, Final, Generic, TypeVar

import msgspec

from runstead.sdk.errors import RunsteadError, UnexpectedAnswerError, refusal
from runstead.sdk.routes.call import Call
from runstead.sdk.transport.message import Response
from runstead.sdk.transport.retry import Backoff, Retries
from runstead.sdk.transport.sse import Frame, Parser

Item = TypeVar("Item")
T = TypeVar("T")

#: The server sends a comment every 15 s. After three missing comments the connection is considered broken.
SILENCE_S: Final = 45.0


class StreamFollower(ABC, Generic[Item]):
    """Follows one stream over any number of connections.

    For each connection: `call()` describes the request, `opened()` checks the response's head, `feed()` parses a chunk,
    and `disconnected()` returns the delay before the next connection. `done`: the last item has been yielded.
    """

    done = False

    def __init__(self) -> None:
        self.use(Retries())
        self._parser = Parser()

    def use(self, retries: Retries) -> None:
        """Use the retries of the client that follows."""
        self._retries = retries
        self._backoff = Backoff(retries)

    @abstractmethod
    def call(self) -> Call[None]:
        """Return the request of the next connection."""

    @abstractmethod
    def feed(self, chunk: bytes) -> Iterator[Item]:
        """Parse a chunk of the stream, and yield its items."""

    def _frames(self, chunk: bytes) -> list[Frame]:
        """Return the frames that a chunk completes. A connection that sends something is no failure."""
        self._backoff.reset()
        return self._parser.feed(chunk)

    def completion(self) -> Generator[Call[Any], Any, bool]:
        """Yield calls, receive their answers, and return whether the stream is complete.

        It is asked after a connection that ended without an error.
        """
        return False
        yield

    def opened(self, response: Response, name: str) -> RunsteadError | None:
        """Begin to parse a response. Return its error where it is not a stream, None where it is one.

        `name` is the call's. The body of a response outside 2xx must have been read.
        """
        self._parser = Parser()
        if not response.is_success:
            after = self._retries.retry_after_s(response.headers.get("retry-after"))
            return refusal(response.status, response.content, name, after)
        if not response.headers.get("content-type", "").startswith("text/event-stream"):
            return UnexpectedAnswerError(f"{name} was not answered with a stream", response.status)
        return None

    def disconnected(self, error: RunsteadError | None = None) -> float:
        """Return the seconds to wait before the next connection.

        Raise the error where it is not retryable, and after the last retry.
        """
        if error is not None:
            return self._backoff.next_delay_or_raise(error, retryable=error.retryable)
        server_s = self._parser.retry_ms / 1000 if self._parser.retry_ms is not None else None
        return self._backoff.next_delay_s(server_s)


def decoded(frame: Frame, kind: type[T], stream: str) -> T:
    """Return the data of a frame. Raise UnexpectedAnswerError, which names the `stream`, where it is not of this type."""
    try:
        return msgspec.json.decode(frame.data, type=kind)
    except msgspec.DecodeError as error:
        reason = str(error)
    raise UnexpectedAnswerError(f"{stream} not understood: {reason}", 200)
