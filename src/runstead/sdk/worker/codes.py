"""The error codes with which the SDK's worker fails runs. Any other code comes from the handler."""

from typing import Final

CODES: Final = {
    "INVALID_INPUT": "An argument is missing from the run's config and input, or is of another type.",
    "TARGET_NOT_SERVED": "The worker claimed a run of a target that its app does not serve.",
    "NON_DETERMINISTIC": "The code asks for other steps than the run's log has.",
    "NESTED_STEP": "A step asked for a step or a wait of its own.",
    "STEPS_OVERLAP": "Two steps were asked for at the same time without `ctx.gather`.",
    "TRY_ENDED": "Something that an earlier try left running asked for a step.",
    "STEP_RESULT_TOO_LARGE": "A step returned more than 255 KiB of JSON.",
    "STEP_RESULT_NOT_JSON": "A step returned something that JSON cannot hold.",
    "RESULT_NOT_JSON": "The handler returned something that JSON cannot hold.",
    "TIMEOUT": "A step, or the last try of the handler, took longer than its `timeout_seconds`.",
    "WAIT_TIMEOUT": "An approval or an event did not come within its `timeout_seconds`.",
    "CHILD_FAILED": "A run below this one failed.",
    "CHILD_CANCELLED": "A run below this one was cancelled.",
    "CHILD_GONE": "A run below this one was deleted before its end was read.",
    "HANDLER_CANCELLED": "The handler raised CancelledError, and nobody had cancelled it.",
    "COMPLETION_REFUSED": "The server refused the completion: its answer is in the message.",
}
