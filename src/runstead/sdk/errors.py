"""The one error that calls raise, and how an answer or a failed connection becomes it. It never holds a credential."""

from collections.abc import Sequence
from typing import Final

import httpx2
import msgspec

from runstead.sdk.models.response import FieldError

#: Failures that happen before a request leaves: sending again cannot do anything twice.
_UNSENT: Final = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)
#: Failures that sending again cannot mend.
_PERMANENT: Final = (httpx2.UnsupportedProtocol, httpx2.LocalProtocolError)


class RunsteadError(Exception):
    """A call that did not succeed.

    `status` is the HTTP status (0 where no answer came), `code` the stable code for programs (None where the answer
    carries none, as from a proxy), `detail` one sentence for people, `errors` the refused values of the body, and
    `retry_after_s` the seconds after which the server says trying again can help.
    """

    def __init__(
        self,
        detail: str,
        status: int = 0,
        code: str | None = None,
        errors: Sequence[FieldError] = (),
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(detail, status, code, tuple(errors), retry_after_s)
        self.detail = detail
        self.status = status
        self.code = code
        self.errors = tuple(errors)
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        facts = [fact for fact in (self.code, f"HTTP {self.status}" if self.status else None) if fact]
        return f"{self.detail} ({', '.join(facts)})" if facts else self.detail

    @property
    def retryable(self) -> bool:
        """Whether trying again later can help: no answer, 429 or 5xx."""
        return self.status in {0, 429} or self.status >= 500


class NoAnswerError(RunsteadError):
    """The server could not be reached, or the connection broke before it answered. `status` is 0.

    `unsent` is true where the request surely never left; `permanent` where sending again cannot help.
    """

    def __init__(self, detail: str, *, unsent: bool = False, permanent: bool = False) -> None:
        super().__init__(detail)
        self.unsent = unsent
        self.permanent = permanent

    def __reduce__(self) -> tuple[type["NoAnswerError"], tuple[str]]:
        return type(self), (self.detail,)

    @property
    def retryable(self) -> bool:
        return not self.permanent


class UnexpectedAnswerError(RunsteadError):
    """An answer that is not what the route promises: not JSON, or of another shape."""

    @property
    def retryable(self) -> bool:
        return False


class _Problem(msgspec.Struct, frozen=True):
    detail: str = ""
    code: str | None = None
    errors: list[FieldError] = []


def no_answer(error: httpx2.RequestError, what: str) -> NoAnswerError:
    """`what` names the call, such as `GET /runs/abc`."""
    return NoAnswerError(
        f"No answer to {what}: {type(error).__name__}: {error}".rstrip(": "),
        unsent=isinstance(error, _UNSENT),
        permanent=isinstance(error, _PERMANENT) or not isinstance(error, httpx2.TransportError),
    )


def refusal(status: int, content: bytes, what: str, retry_after_s: float | None) -> RunsteadError:
    """The error for an answer outside 2xx. `content` is a problem document, or anything at all."""
    try:
        problem = msgspec.json.decode(content, type=_Problem)
    except (msgspec.DecodeError, UnicodeDecodeError):
        problem = _Problem()
    detail = problem.detail or f"{what} was answered with status {status}"
    return RunsteadError(detail, status, problem.code, problem.errors, retry_after_s)
