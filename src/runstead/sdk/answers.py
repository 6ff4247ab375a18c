"""Short calls about one run: answers to what it waits for, and its values."""

from collections.abc import Generator
from typing import Any, Final

from runstead.sdk.errors import RunsteadError
from runstead.sdk.models.run import Accepted, Run, RunValues, Signalled
from runstead.sdk.models.value import Codec, packed
from runstead.sdk.resources import Calls, Resources
from runstead.sdk.routes.call import Call
from runstead.sdk.routes.route import procedure, route
from runstead.sdk.routes.runs import ResumeType
from runstead.sdk.routes.values import decoded

Answering = Generator[Call[Any], Any, Accepted]
_CALLS: Final = Calls()
#: The type of the answer to a wait with this reason.
_TYPES: Final[dict[str, ResumeType]] = {
    "tool": "tool_result",
    "approval": "approval",
    "event": "event",
    "input": "input",
}


def decide(
    run_id: str, *, approved: bool, reason: str | None = None, tool_call_id: str | None = None
) -> Call[Accepted]:
    """Approve or reject. The server knows the run's open approvals."""
    result = approved if reason is None else {"approved": approved, "reason": reason}
    return _CALLS.runs.resume(run_id, result, type="approval", tool_call_id=tool_call_id)


def resume(run_id: str, result: Any, *, is_error: bool, codec: Codec | None = None) -> Answering:
    """Send the result of what the run waits for."""
    run: Run = yield _CALLS.runs.get(run_id)
    kind = _TYPES.get(run.waiting_reason or "")
    if kind is None:
        # The call id of a durable wait is `approval`, `event:<name>` …, and the id of its step.
        waits_for = (run.waiting_tool_call_id or "").rpartition(":")[0] or run.waiting_reason
        now = f"it waits for {waits_for}" if run.status == "waiting" else f"it is {run.status}"
        raise RunsteadError(
            f"Run {run.run_id} does not wait for an answer: {now}", 409, "TOOL_RESULT_NOT_WAITING"
        )
    if kind == "event":
        result = packed(result, codec)
    accepted: Accepted = yield _CALLS.runs.resume(
        run.run_id, result, type=kind, tool_call_id=run.waiting_tool_call_id, is_error=is_error
    )
    return accepted


class Answers(Resources):
    """The methods of a client that answer what a run waits for, send signals to it, and read its values.

    RunsteadError with 409 TOOL_RESULT_NOT_WAITING or TOOL_RESULT_CONFLICT where the run does not wait for it.
    """

    @route
    def approve(
        self, run_id: str, *, reason: str | None = None, tool_call_id: str | None = None
    ) -> Call[Accepted]:
        """Approve what the run asks with `ctx.wait_for_approval`, or the tool call that it waits for.

        `tool_call_id` is needed only where several approvals are open: TOOL_RESULT_CONFLICT lists them.
        """
        return decide(run_id, approved=True, reason=reason, tool_call_id=tool_call_id)

    @route
    def reject(
        self, run_id: str, *, reason: str | None = None, tool_call_id: str | None = None
    ) -> Call[Accepted]:
        """Reject what the run asks with `ctx.wait_for_approval`, or the tool call that it waits for; see `approve`."""
        return decide(run_id, approved=False, reason=reason, tool_call_id=tool_call_id)

    @route
    def values(self, run_id: str) -> Call[RunValues]:
        """Return the values that the run's handler has set with `ctx.set`, at any time."""
        return _CALLS.runs.values(run_id)

    @route
    def value(self, run_id: str, name: str, default: Any = None) -> Call[Any]:
        """Return one value of the run (any JSON), `default` where it is not set."""
        return _CALLS.runs.value(run_id, name, default)

    @procedure
    def decoded(self, run: Run) -> Generator[Call[Any], Any, Run]:
        """Return the run with its input, config, output and error decoded. A large output is read from its artifact.

        Raise ValueNotReadable where that is missing or damaged, or where this client cannot decode a value.
        """
        return (yield from decoded(run, self.codec))

    @route
    def signal(
        self, run_id: str, name: str, payload: Any = None, *, idempotency_key: str | None = None
    ) -> Call[Signalled]:
        """Send a signal, which the run takes once with `ctx.wait_for_event(name)`: now, or when it waits for it."""
        calls = Calls(codec=self.codec)
        return calls.runs.signal(run_id, name, payload, idempotency_key=idempotency_key)
