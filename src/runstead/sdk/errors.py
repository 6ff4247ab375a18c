"""The error that calls raise, made from a response or a failed connection. It never contains a credential."""

from collections.abc import Sequence
from typing import Any, Final

import httpx2
import msgspec

from runstead.sdk.models.response import FieldError

#: Failures before a request is sent: a retry cannot have an effect twice.
_UNSENT: Final = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)
#: Failures that a retry cannot resolve.
_PERMANENT: Final = (httpx2.UnsupportedProtocol, httpx2.LocalProtocolError)


class RunsteadError(Exception):
    """A call failed.

    `status` is the HTTP status, 0 where no answer came. `code` is the stable code for programs, None where the answer
    has none, such as a proxy's. `detail` is one sentence for people. `errors` are the refused values of the body.
    `retry_after_s` is the server's Retry-After, in seconds. `request_id` names the request in the server's log.
    """

    def __init__(
        self,
        detail: str,
        status: int = 0,
        code: str | None = None,
        errors: Sequence[FieldError] = (),
        retry_after_s: float | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(detail, status, code, tuple(errors), retry_after_s, request_id)
        self.detail = detail
        self.status = status
        self.code = code
        self.errors = tuple(errors)
        self.retry_after_s = retry_after_s
        self.request_id = request_id

    def __str__(self) -> str:
        # The reason of a 5xx is in the server's log, under the request id.
        logged = f"request {self.request_id}" if self.request_id and self.status >= 500 else None
        facts = [fact for fact in (self.code, f"HTTP {self.status}" if self.status else None, logged) if fact]
        return f"{self.detail} ({', '.join(facts)})" if facts else self.detail

    @property
    def retryable(self) -> bool:
        """Whether a retry can succeed: after no answer, 429 or 5xx."""
        return self.status in {0, 429} or self.status >= 500


class NoAnswerError(RunsteadError):
    """The server could not be reached, or the connection broke before the answer. `status` is 0.

    `unsent`: the request was certainly not sent. `permanent`: a retry cannot succeed.
    """

    def __init__(self, detail: str, *, unsent: bool = False, permanent: bool = False) -> None:
        super().__init__(detail)
        self.unsent = unsent
        self.permanent = permanent

    def __reduce__(self) -> tuple[type["NoAnswerError"], tuple[str]]:
        return type(self), (self.detail,)

    @property
    def retryable(self) -> bool:
        """Whether a retry can succeed: not where the name or the certificate of the server is wrong."""
        return not self.permanent


class UnexpectedAnswerError(RunsteadError):
    """The answer is not what the route documents: it is not JSON, or has another shape."""

    @property
    def retryable(self) -> bool:
        """False: the same answer would follow."""
        return False


class ValueNotReadable(RunsteadError):  # noqa: N818 - as RunFailed
    """A value of a run cannot be read: its artifact is missing or damaged, or `undecoded`: it is encoded, and this
    program has no codec that decodes it. The code is VALUE_NOT_READABLE.
    """

    def __init__(self, detail: str, *, undecoded: bool = False) -> None:
        super().__init__(detail, code="VALUE_NOT_READABLE")
        self.undecoded = undecoded

    def __reduce__(self) -> tuple[type["ValueNotReadable"], tuple[str]]:
        return type(self), (self.detail,)

    @property
    def retryable(self) -> bool:
        """False: the same would follow."""
        return False


class ErrorDetail:
    """An error with a `detail`, which has the exception of a handler that failed the run."""

    detail: Any

    @property
    def type(self) -> str | None:
        """The name of the exception's type. None where no exception of a handler failed the run."""
        return _text_of(self.detail, "type")

    @property
    def traceback(self) -> str | None:
        """The exception's traceback, with the frames of the handler's own code. None as for `type`."""
        return _text_of(self.detail, "traceback")


class RunFailed(ErrorDetail, Exception):  # noqa: N818 - an outcome
    """A run failed. Its handle raises it with the run's message, code and detail.

    Raise it in a handler to fail the run with a message, code and detail (any JSON), without a traceback.
    """

    def __init__(self, message: str, code: str | None = None, detail: Any = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.detail = detail


class RunCancelled(Exception):  # noqa: N818 - an outcome
    """A run was cancelled. Its handle raises it with the run's message and code."""

    def __init__(self, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code


class RunDiffersWarning(UserWarning):
    """A run was created with the id of a run that has another config or input, which stay as they are."""


def _text_of(detail: Any, member: str) -> str | None:
    value = detail.get(member) if isinstance(detail, dict) else None
    return value if isinstance(value, str) else None


class _Problem(msgspec.Struct, frozen=True):
    detail: str = ""
    code: str | None = None
    request_id: str | None = None
    errors: list[FieldError] = []


def no_answer(error: httpx2.RequestError, call: str) -> NoAnswerError:
    """Return the error of a failed connection. `call` is the call's name, such as `GET /runs/abc`."""
    return NoAnswerError(
        f"No answer to {call}: {type(error).__name__}: {error}".rstrip(": "),
        unsent=isinstance(error, _UNSENT),
        permanent=isinstance(error, _PERMANENT) or not isinstance(error, httpx2.TransportError),
    )


def refusal(status: int, content: bytes, call: str, retry_after_s: float | None) -> RunsteadError:
    """Return the error of an answer outside 2xx. `content` is a problem document (RFC 9457), or any other body."""
    try:
        problem = msgspec.json.decode(content, type=_Problem)
    except (msgspec.DecodeError, UnicodeDecodeError):
        problem = _Problem()
    detail = problem.detail or f"{call} was answered with status {status}"
    if 300 <= status < 400:
        detail += (
            ", a redirect: the client needs the server's own URL, without the path of a page such as /ui"
        )
    return RunsteadError(
        detail=detail,
        status=status,
        code=problem.code,
        errors=problem.errors,
        retry_after_s=retry_after_s,
        request_id=problem.request_id,
    )
