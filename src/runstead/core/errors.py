"""The error type of the application. `http/framework/problems.py` maps its codes to HTTP statuses."""

from typing import Final, TypeVar

T = TypeVar("T")

#: Every error code of an answer, with its explanation for people.
CODES: Final[dict[str, str]] = {
    "INVALID_REQUEST": "The request is malformed or a value in it is not allowed.",
    "BODY_TOO_LARGE": "The request body is larger than the route takes: 10 MiB, or less where the route says so.",
    "URL_TOO_LONG": "The request's URL is longer than 16 KiB.",
    "HEADERS_TOO_LARGE": "The request line and the headers are larger than 64 KiB.",
    "REQUEST_TIMEOUT": "The request did not arrive in time: the connection is closed.",
    "ADDRESS_LIMIT_REACHED": "This address has as many connections as one address can have.",
    "STREAM_LIMIT_REACHED": "The project or the caller has as many open streams as it can have.",
    "CONNECTION_LIMIT_REACHED": "The server has as many connections as it can have: try again after Retry-After.",
    "AUTHENTICATION_THROTTLED": "This address sent too many unknown credentials: try again after Retry-After.",
    "UNAUTHENTICATED": "The credential is missing or not valid.",
    "FORBIDDEN": "The credential is valid but does not have the permission.",
    "NOT_FOUND": "The resource does not exist, or the caller cannot see it.",
    "METHOD_NOT_ALLOWED": "The path exists, but not with this method.",
    "RUN_ID_CONFLICT": "The run id is taken by a run with another kind, owner or target.",
    "RUN_ID_AMBIGUOUS": "Several projects of the caller have a run with this id: name one with ?project=.",
    "RUN_NOT_ACTIVE": "The run is completed, failed or cancelled.",
    "RUN_NOT_TERMINAL": "The run must be completed, failed or cancelled first.",
    "STEP_NOT_FOUND": "The run has no such step in its log, or no step of it failed.",
    "RETRY_TOO_LARGE": "The results before the step are more than a retry can copy: retry from an earlier step.",
    "RUN_HAS_CHILDREN": "A run with descendants cannot be deleted.",
    "RUN_ALREADY_WAITING": "The run already waits for something else.",
    "PARENT_CANCELLED": "The parent or one of its ancestors was cancelled: it accepts no more children.",
    "FAMILY_TOO_DEEP": "The chain of parents is longer than the limit.",
    "ATTEMPT_SUPERSEDED": "The attempt or lease token is no longer the current one.",
    "ATTEMPT_REQUIRED": "The project requires `attempt` or `X-Lease-Token` with every write of a worker.",
    "EVENT_CURSOR_MISMATCH": "An expected cursor does not match the end of the run's log.",
    "EVENT_RUN_TERMINAL": "Events cannot be appended to a run that has ended.",
    "EVENT_RUN_WAITING": "Events cannot be appended while the run waits.",
    "EVENT_TOO_LARGE": "One event is 256 KiB or larger.",
    "EVENT_TYPE_REFUSED": "Terminal events are written by completing the run, not by appending.",
    "EVENT_RESERVED": "Only the holder of the run's lease, or the server, may write such an event.",
    "EVENT_LOG_FULL": "The run has as many events as one run can have.",
    "SECRETS_NOT_KEPT": "The values of the form's secret fields are not stored.",
    "SIGNALS_FULL": "The run has as many signals that it has not taken as one run can have.",
    "COMPENSATIONS_FULL": "The run has as many compensations, or as many bytes of them, as one run can have.",
    "VALUES_FULL": "The run has as many named values as one run can have.",
    "REQUEST_SNAPSHOT_TOO_LARGE": "The start payload is 2 MiB or larger.",
    "TOOL_RESULT_NOT_WAITING": "The run does not wait for a result.",
    "TOOL_RESULT_CONFLICT": "The run waits for something else, or has another result for this tool call.",
    "INPUT_REQUEST_NOT_OPEN": "The input request was submitted, cancelled or has expired.",
    "CONVERSATION_LINKED": "The conversation, or the family of a run in it, belongs elsewhere: it cannot be linked.",
    "SCHEDULE_LIMIT_REACHED": "The project has as many schedules as one project can have.",
    "KEY_LIMIT_REACHED": "The project has as many API keys as one project can have.",
    "MEMBER_LIMIT_REACHED": "The project has as many members as one project can have.",
    "WEBHOOK_LIMIT_REACHED": "The project has as many webhooks as one project can have.",
    "WEBHOOK_DISABLED": "The webhook is disabled and sends nothing.",
    "ALERT_LIMIT_REACHED": "The project has as many alert rules as one project can have.",
    "ALERT_HAS_NO_WEBHOOK": "No enabled webhook receives the messages of the alert rule.",
    "BUDGET_LIMIT_REACHED": "The project has as many budgets as one project can have.",
    "TRIGGER_LIMIT_REACHED": "The project has as many triggers as one project can have.",
    "PRICE_LIMIT_REACHED": "The project has as many prices as one project can have.",
    "BULK_TOO_LARGE": "More runs match the filter than one bulk job can have.",
    "BULK_LIMIT_REACHED": "The project has as many running bulk jobs as one project can have.",
    "BATCH_CLOSED": "The batch is completed or was cancelled: it accepts no more runs.",
    "BATCH_NOT_RETRIABLE": "The batch has active runs, or no runs or too many runs that can be retried.",
    "SCHEDULE_COMPLETED": "The schedule has had all its runs: max_runs of them, or the one of run_at.",
    "SCHEDULE_DELETING": "The schedule is being deleted: it cannot be changed and starts no runs.",
    "SCHEDULE_FROM_SOURCE": "The schedule is defined in the project's source: change it there, or pause it here.",
    "ARTIFACT_LIMIT_REACHED": "The run has as many artifacts as one run can have.",
    "ARTIFACT_MISMATCH": "The received bytes do not match the announced sha256.",
    "ARTIFACT_TOO_LARGE": "The artifact is larger than RUNSTEAD_ARTIFACT_BYTES_MAX.",
    "ARTIFACTS_NOT_KEPT": "The server stores no artifacts: RUNSTEAD_ARTIFACTS_URL is not set.",
    "VALUE_NOT_READABLE": "The artifact of a large value is missing, has other bytes or is no JSON.",
    "RANGE_NOT_SATISFIABLE": "The Range starts after the end of the artifact.",
    "IDEMPOTENCY_KEY_REUSED": "The idempotency key was used for another request, message or event.",
    "IDEMPOTENCY_KEY_IN_USE": "A request with this idempotency key is still being processed.",
    "PROJECT_LIMIT_REACHED": "The user has created as many projects as one user can create.",
    "PROJECT_SLUG_TAKEN": "A project with this slug exists.",
    "LAST_ADMIN": "The last admin of a project cannot be removed.",
    "PRECONDITION_FAILED": "If-Match does not match the current version of the run.",
    "PRECONDITION_REQUIRED": "The change needs an If-Match header.",
    "TOO_MANY_PUSH_SERVICES": "The project has as many push services as one project can have.",
    "ENCRYPTION_KEY_MISSING": "A stored secret cannot be decrypted: the server does not have its encryption key.",
    "RATE_LIMITED": "The project sends more requests per minute than its quota allows.",
    "QUOTA_REACHED": "The project uses all of its quota.",
    "QUERY_TOO_SLOW": "The query took too long: narrow it.",
    "PROJECT_BUSY": "Too many requests of the project are waiting: send fewer at the same time.",
    "STORE_BUSY": "Too many requests are waiting for the store: try again after Retry-After.",
    "STORE_UNAVAILABLE": "The store could not commit (disk full, read-only, locked): nothing was stored.",
    "SHUTTING_DOWN": "The server is stopping: try again after Retry-After.",
    "INTERNAL": "Something went wrong in the server; it was logged.",
}

#: Error codes that the server writes into a run's `error`.
RUN_CODES: Final[dict[str, str]] = {
    "CANCELLED": "The run was cancelled.",
    "REPLACED": "The run was cancelled by its schedule, whose next run replaced it.",
    "LEASE_EXPIRED": "A worker's lease expired and no retries were left.",
    "ATTEMPTS_EXHAUSTED": "A worker released the run and no retries were left.",
    "TIMEOUT": "The attempt took longer than timeout_seconds and no retries were left.",
    "WAIT_EXPIRED": "The run was not resumed before expires_at.",
    "EVENT_LOG_FULL": "The run has as many events as one run can have, and its timer could not resume it.",
    "OUTPUT_TOO_LARGE": "The output is larger than 1 MiB.",
    "DISPATCH_FAILED": "The run could not be handed to its push service.",
    "BUDGET_REACHED": "A budget was reached, and it ends its runs or was not raised.",
}


class Error(Exception):
    """A refused command. `code` is stable and for programs; `message` is one sentence for people.

    `retry_after_s` is set if a retry can succeed. `errors` holds `(path, message)` pairs for invalid values
    of a body.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        retry_after_s: int | None = None,
        errors: tuple[tuple[str, str], ...] = (),
    ) -> None:
        assert code in CODES, code
        super().__init__(message)
        self.code = code
        self.message = message
        self.retry_after_s = retry_after_s
        self.errors = errors


class UnknownCredentialError(Error):
    """Refuses a credential that this server never issued or no longer knows, and which may be a guess."""


def invalid_at(path: str, reason: str, message: str | None = None) -> Error:
    """INVALID_REQUEST for one member of a body or query, which `path` names (`$.limit`).

    `reason` says in a few words what is wrong, `message` in a sentence; without it, both are the same.
    """
    return Error("INVALID_REQUEST", message or reason, errors=((path, reason),))


def not_found(what: str) -> Error:
    """NOT_FOUND for a record that does not exist or is not visible to the caller: both get the same answer."""
    return Error("NOT_FOUND", f"{what} not found")


def existing(found: T | None, what: str) -> T:
    """Return a record that was looked up. Raises NOT_FOUND if there is none."""
    if found is None:
        raise not_found(what)
    return found
