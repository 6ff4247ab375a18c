"""One call on its way, without I/O: what to send, and what to do with what comes back."""

from dataclasses import dataclass
from types import NoneType
from typing import Generic, TypeVar, cast

import msgspec

from runstead.sdk.errors import NoAnswerError, RunsteadError, UnexpectedAnswerError, refusal
from runstead.sdk.routes.call import Call
from runstead.sdk.transport.message import Response
from runstead.sdk.transport.retry import Retries

T = TypeVar("T")


@dataclass(frozen=True)
class Done(Generic[T]):
    value: T


class Exchange(Generic[T]):
    """Feed it every outcome. It answers the value, or the seconds to wait before sending again, or raises."""

    def __init__(self, call: Call[T], retries: Retries, project: str | None = None) -> None:
        """`project` is the client's, for a run id that is not unique among the caller's projects."""
        self.call = call
        self.content = call.content()
        self._retries = retries
        self._project = project
        self._repeats = 0

    def answered(self, response: Response) -> Done[T] | float:
        """The server answered, and the body was read."""
        if response.is_success:
            return Done(decode(response.content, self.call))
        after = self._retries.retry_after_s(response.headers.get("retry-after"))
        error = refusal(response.status, response.content, self.call.name, after)
        if error.code == "RUN_ID_AMBIGUOUS" and self._project is not None:
            self.call, self._project = self.call.with_project(self._project), None
            return 0.0
        # A repeat can overtake the request it repeats: then the key is still in use, by this very call.
        overtook = error.code == "IDEMPOTENCY_KEY_IN_USE" and self._repeats > 0
        # 429 and 503 say that nothing was done; another 5xx does not.
        safe = self.call.repeatable or error.status in {429, 503}
        return self._again(error, may=overtook or (error.retryable and safe))

    def failed(self, error: NoAnswerError) -> float:
        return self._again(error, may=not error.permanent and (self.call.repeatable or error.unsent))

    def _again(self, error: RunsteadError, *, may: bool) -> float:
        too_long = error.retry_after_s is not None and error.retry_after_s > self._retries.max_retry_after_s
        if not may or too_long or self._repeats >= self._retries.times:
            raise error
        self._repeats += 1
        return self._retries.delay_s(self._repeats - 1, error.retry_after_s)


def decode(content: bytes, call: Call[T]) -> T:
    """The answer as its type; None where the call promises nothing."""
    if call.answer is NoneType:
        return cast(T, None)
    if call.answer is bytes:
        return cast(T, content)
    try:
        return msgspec.json.decode(content, type=call.answer)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        trouble = str(error)
    raise UnexpectedAnswerError(
        f"The answer to {call.name} was not understood: {trouble}", 200, "UNEXPECTED_ANSWER"
    )
