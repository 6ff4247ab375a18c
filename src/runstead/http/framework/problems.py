"""The HTTP status of each error code, and errors as `application/problem+json` (RFC 9457)."""

from http import HTTPStatus
from typing import Final

import msgspec
from starlette.responses import Response

from runstead.core.errors import CODES, Error

#: The codes of most routes that read records of a project, and of most that write them.
LOOKUP: Final = ("NOT_FOUND",)
CHANGE: Final = (*LOOKUP, "STORE_BUSY", "STORE_UNAVAILABLE")

#: Error code → HTTP status.
STATUS: Final[dict[str, int]] = {
    "INVALID_REQUEST": 400,
    "ARTIFACT_MISMATCH": 400,
    "EVENT_CURSOR_MISMATCH": 400,
    "EVENT_RUN_TERMINAL": 400,
    "EVENT_RUN_WAITING": 400,
    "EVENT_TOO_LARGE": 400,
    "EVENT_TYPE_REFUSED": 400,
    "EVENT_LOG_FULL": 400,
    "REQUEST_SNAPSHOT_TOO_LARGE": 400,
    "QUERY_TOO_SLOW": 400,
    "UNAUTHENTICATED": 401,
    "FORBIDDEN": 403,
    "EVENT_RESERVED": 403,
    "NOT_FOUND": 404,
    "METHOD_NOT_ALLOWED": 405,
    "REQUEST_TIMEOUT": 408,
    "RUN_ID_CONFLICT": 409,
    "RUN_ID_AMBIGUOUS": 409,
    "STEP_NOT_FOUND": 400,
    "RETRY_TOO_LARGE": 409,
    "RUN_NOT_TERMINAL": 409,
    "RUN_HAS_CHILDREN": 409,
    "RUN_ALREADY_WAITING": 409,
    "PARENT_CANCELLED": 409,
    "FAMILY_TOO_DEEP": 409,
    "ATTEMPT_SUPERSEDED": 409,
    "ATTEMPT_REQUIRED": 409,
    "TOOL_RESULT_NOT_WAITING": 409,
    "TOOL_RESULT_CONFLICT": 409,
    "SIGNALS_FULL": 409,
    "SECRETS_NOT_KEPT": 409,
    "COMPENSATIONS_FULL": 409,
    "INPUT_REQUEST_NOT_OPEN": 409,
    "CONVERSATION_LINKED": 409,
    "IDEMPOTENCY_KEY_REUSED": 409,
    "IDEMPOTENCY_KEY_IN_USE": 409,
    "PROJECT_LIMIT_REACHED": 409,
    "PROJECT_SLUG_TAKEN": 409,
    "LAST_ADMIN": 409,
    "SCHEDULE_LIMIT_REACHED": 409,
    "SCHEDULE_COMPLETED": 409,
    "KEY_LIMIT_REACHED": 409,
    "MEMBER_LIMIT_REACHED": 409,
    "WEBHOOK_LIMIT_REACHED": 409,
    "WEBHOOK_DISABLED": 409,
    "ALERT_LIMIT_REACHED": 409,
    "ALERT_HAS_NO_WEBHOOK": 409,
    "BUDGET_LIMIT_REACHED": 409,
    "TRIGGER_LIMIT_REACHED": 409,
    "PRICE_LIMIT_REACHED": 409,
    "BULK_TOO_LARGE": 409,
    "BULK_LIMIT_REACHED": 409,
    "BATCH_CLOSED": 409,
    "BATCH_NOT_RETRIABLE": 409,
    "SCHEDULE_DELETING": 409,
    "SCHEDULE_FROM_SOURCE": 409,
    "TOO_MANY_PUSH_SERVICES": 409,
    "ARTIFACT_LIMIT_REACHED": 409,
    "VALUES_FULL": 409,
    "ARTIFACTS_NOT_KEPT": 409,
    "VALUE_NOT_READABLE": 409,
    "RUN_NOT_ACTIVE": 410,
    "PRECONDITION_FAILED": 412,
    "BODY_TOO_LARGE": 413,
    "URL_TOO_LONG": 414,
    "ARTIFACT_TOO_LARGE": 413,
    "RANGE_NOT_SATISFIABLE": 416,
    "PRECONDITION_REQUIRED": 428,
    "ADDRESS_LIMIT_REACHED": 429,
    "PROJECT_BUSY": 429,
    "RATE_LIMITED": 429,
    "QUOTA_REACHED": 429,
    "AUTHENTICATION_THROTTLED": 429,
    "STREAM_LIMIT_REACHED": 429,
    "HEADERS_TOO_LARGE": 431,
    "INTERNAL": 500,
    "ENCRYPTION_KEY_MISSING": 503,
    "STORE_BUSY": 503,
    "STORE_UNAVAILABLE": 503,
    "SHUTTING_DOWN": 503,
    "CONNECTION_LIMIT_REACHED": 503,
}
assert STATUS.keys() == CODES.keys(), STATUS.keys() ^ CODES.keys()


class FieldError(msgspec.Struct, frozen=True):
    """A refused value: its path (`$.events[3].type`) and the reason."""

    path: str
    message: str


class Problem(msgspec.Struct, frozen=True):
    """An error (RFC 9457). `error` is the same text as `detail`; `code` is stable.

    `request_id` is the `X-Request-Id` of the answer.
    """

    type: str
    title: str
    status: int
    detail: str
    instance: str
    error: str
    code: str
    request_id: str
    errors: list[FieldError] | msgspec.UnsetType = msgspec.UNSET


def redacted(path: str) -> str:
    """Return the path without the token after `/triggers/`, for answers and logs."""
    return "/triggers/***" if path.startswith("/triggers/") else path


def problem_json(error: Error, path: str, request_id: str | None) -> bytes:
    """Encode the body of the answer for an error of the request to `path`."""
    status = STATUS[error.code]
    body = Problem(
        type=f"/docs#{error.code}",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=error.message,
        instance=redacted(path),
        error=error.message,
        code=error.code,
        request_id=request_id or "",
        errors=[FieldError(path, message) for path, message in error.errors] or msgspec.UNSET,
    )
    return msgspec.json.encode(body)


def problem(
    error: Error, path: str, request_id: str | None, headers: dict[str, str] | None = None
) -> Response:
    """Build the answer for an error of the request to `path`."""
    status = STATUS[error.code]
    extra = dict(headers or {})
    if error.retry_after_s is not None:
        extra["Retry-After"] = str(error.retry_after_s)
    if status == HTTPStatus.UNAUTHORIZED:
        extra["WWW-Authenticate"] = "Bearer"
    return Response(problem_json(error, path, request_id), status, extra, "application/problem+json")
