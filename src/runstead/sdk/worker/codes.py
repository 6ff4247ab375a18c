"""The error codes with which the SDK's worker fails runs. Any other code comes from the handler."""

from typing import Final

CODES: Final = {
    "INVALID_INPUT": "An argument is missing from the run's config and input, or has another type.",
    "TARGET_NOT_SERVED": "The worker claimed a run whose target its app does not serve.",
    "NON_DETERMINISTIC": 'The code requests other steps than the log of the run has, and `on_changed_code` is "fail".',
    "NESTED_STEP": "A step started a step or a wait of its own.",
    "STEPS_OVERLAP": "Two steps were started concurrently without `ctx.gather`.",
    "TRY_ENDED": "Code that an earlier try left running started a step.",
    "STEP_RESULT_TOO_LARGE": "A step returned more than 255 KiB of JSON.",
    "STEP_RESULT_NOT_JSON": "A step returned a value that JSON cannot represent.",
    "RESULT_NOT_JSON": "The handler returned a value that JSON cannot represent.",
    "TIMEOUT": "A step, or the last try of the handler, took longer than its `timeout_seconds`.",
    "WAIT_TIMEOUT": "An approval or an event did not arrive within its `timeout_seconds`.",
    "CHILD_FAILED": "A child run failed.",
    "CHILD_CANCELLED": "A child run was cancelled.",
    "CHILD_GONE": "A child run was deleted before its result was read.",
    "HANDLER_CANCELLED": "The handler raised CancelledError without being cancelled.",
    "COMPLETION_REFUSED": "The server refused the completion: its response is in the message.",
}
