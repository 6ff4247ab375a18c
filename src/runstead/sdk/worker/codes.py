"""The error codes with which the SDK's worker fails runs. Any other code comes from the handler."""

from typing import Final

CODES: Final = {
    "INVALID_INPUT": "An argument is missing from the run's config and input, or has another type.",
    "TARGET_NOT_SERVED": "The worker claimed a run whose target its app does not serve.",
    "NON_DETERMINISTIC": 'The code requests other steps than the log of the run has, and `on_changed_code` is "fail".',
    "NESTED_STEP": "A step started a step or a wait of its own.",
    "STEPS_OVERLAP": "Two steps were started concurrently without `ctx.gather`.",
    "TRY_ENDED": "Code that an earlier try left running started a step.",
    "STEP_RESULT_TOO_LARGE": "A step returned more JSON than is kept: see `value_bytes_max` of the app.",
    "STEP_RESULT_NOT_JSON": "A step returned a value that JSON cannot represent.",
    "STEP_RESULT_INVALID": "A step returned a value that does not fit its return annotation.",
    "STEP_NOT_AWAITED": "A call of the context, such as `ctx.step(…)`, was never awaited.",
    "OUTPUT_INVALID": "The handler returned a value that does not fit its return annotation.",
    "RESULT_NOT_JSON": "The handler returned a value that JSON cannot represent.",
    "VALUE_NOT_READABLE": "The artifact of a large value is missing or damaged, or the codec does not decode a value.",
    "NO_CONVERSATION": "A run outside of a conversation asked for a form: forms belong to conversations.",
    "FORM_CANCELLED": "The form that `ctx.ask` waited for was cancelled.",
    "FORM_IN_FIRST": "A call inside of `ctx.first` asked for a form.",
    "SYSTEM_EXIT": "The handler, or the function of a step, called `sys.exit`.",
    "TIMEOUT": "A step, or the last try of the handler, took longer than its `timeout_seconds`.",
    "WAIT_TIMEOUT": "An approval or an event did not arrive within its `timeout_seconds`.",
    "CHILD_FAILED": "A child run failed, with a code of the server or the SDK, or with none.",
    "CHILD_CANCELLED": "A child run was cancelled.",
    "CHILD_GONE": "A child run was deleted before its result was read.",
    "HANDLER_CANCELLED": "The handler raised CancelledError without being cancelled.",
    "COMPLETION_REFUSED": "The server refused the completion: its response is in the message.",
}

#: The codes that the server itself sets in a run.
SERVER_CODES: Final = frozenset(
    {
        "CANCELLED",
        "REPLACED",
        "LEASE_EXPIRED",
        "ATTEMPTS_EXHAUSTED",
        "TIMEOUT",
        "WAIT_EXPIRED",
        "EVENT_LOG_FULL",
        "OUTPUT_TOO_LARGE",
        "DISPATCH_FAILED",
        "BUDGET_REACHED",
    }
)
