"""One call and its retries, without I/O: what to send, and what follows from each response."""

from dataclasses import dataclass
from types import NoneType
from typing import Generic, TypeVar, cast

import msgspec

from runstead.sdk.errors import NoAnswerError, UnexpectedAnswerError, refusal
from runstead.sdk.routes.call import Call
from runstead.sdk.transport.message import Response
from runstead.sdk.transport.retry import Backoff, Retries

T = TypeVar("T")


@dataclass(frozen=True)
class Done(Generic[T]):
    value: T


class Exchange(Generic[T]):
    """Decides after each attempt of a call: return the value, wait and send the call again, or raise."""

    def __init__(self, call: Call[T], retries: Retries, project: str | None = None) -> None:
        """`project` is the client's project, for a run id that several of the caller's projects have."""
        self.call = call
        self.content = call.content()
        self._retries = retries
        self._backoff = Backoff(retries)
        self._project = project

    def on_response(self, response: Response) -> Done[T] | float:
        """Return the decoded value, or the seconds to wait before the call is sent again. Raise RunsteadError."""
        if response.is_success:
            return Done(decode(response.content, self.call))
        after = self._retries.retry_after_s(response.headers.get("retry-after"))
        error = refusal(response.status, response.content, self.call.name, after)
        if error.code == "RUN_ID_AMBIGUOUS" and self._project is not None:
            self.call, self._project = self.call.with_project(self._project), None
            return 0.0
        # A retry can arrive before the request that it repeats. The key is then in use by this same call.
        overtook = error.code == "IDEMPOTENCY_KEY_IN_USE" and self._backoff.failures > 0
        # 429 and 503 mean that the call had no effect. Another 5xx does not.
        safe = self.call.repeatable or error.status in {429, 503}
        return self._backoff.next_delay_or_raise(error, retryable=overtook or (error.retryable and safe))

    def on_no_response(self, error: NoAnswerError) -> float:
        """Return the seconds to wait before the call is sent again. Raise the error where it must not be."""
        safe = self.call.repeatable or error.unsent
        return self._backoff.next_delay_or_raise(error, retryable=safe and not error.permanent)


def decode(content: bytes, call: Call[T]) -> T:
    """Decode a response body to the call's type; None where the call has no response body."""
    if call.answer is NoneType:
        return cast(T, None)
    if call.answer is bytes:
        return cast(T, content)
    try:
        answer = msgspec.json.decode(content, type=call.answer)
        return answer if call.pick is None else cast(T, call.pick(answer))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        reason = str(error)
    raise UnexpectedAnswerError(
        f"The answer to {call.name} was not understood: {reason}", 200, "UNEXPECTED_ANSWER"
    )
