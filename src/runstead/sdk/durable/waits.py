"""Waits, child runs, and values that are the same in every try.

After a wait, a crash or a failed try, the handler runs again from its beginning. Its calls are answered from the run's
history, and have effects only after the history's end. So a handler must call the same steps in the same order in
every try. Everything that may differ (time, random numbers, other systems) belongs in steps, `now`, `random` and
`uuid`.
"""

import random as random_numbers
import uuid as uuids
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final, Generic, Literal, TypeVar, overload

from msgspec.structs import replace

from runstead.sdk.durable.branch import Branch
from runstead.sdk.durable.history import ASKED, FAILED_STEP, NOW, PATCHED, RETRIED, WaitResult
from runstead.sdk.durable.pending_calls import tracked
from runstead.sdk.durable.races import Races
from runstead.sdk.durable.step_results import (
    ChildFailed,
    WaitTimeout,
    error_code,
    failed_step_of,
    is_final,
    without_surrogates,
)
from runstead.sdk.durable.step_runner import backoff_s, current_branch
from runstead.sdk.durable.suspension import Suspend, WaitRequest
from runstead.sdk.errors import RunFailed, RunsteadError
from runstead.sdk.isolation.failure import ProcessFailed
from runstead.sdk.models.run import OpenEvent, Run, Waiting
from runstead.sdk.routes.call import members
from runstead.sdk.routes.create import split_target
from runstead.sdk.routes.values import HIDDEN_MESSAGE, with_error
from runstead.sdk.task import RunRequest, converted

T_co = TypeVar("T_co", covariant=True)
U = TypeVar("U")

#: The worker itself sleeps this long. For a longer sleep the run waits.
_SHORT_SLEEP_S: Final = 1.0
_MESSAGE_CHARS: Final = 1024
#: A retry polls for the end of a child of the earlier run after a tenth of the child's age, within these bounds.
_POLL_AFTER: Final = timedelta(seconds=2)
_POLL_AFTER_MAX: Final = timedelta(seconds=60)


class Waits(Races):
    """The part of a context that waits, starts child runs, and returns values that are the same in every try."""

    #: Whether the time comes from `use_clock`. A handler in another process would not have this clock.
    has_own_clock = False

    def use_clock(self, now: Callable[[], datetime], sleep: Callable[[float], Awaitable[object]]) -> None:
        """Use these functions for the time, as tests do."""
        self._now = now
        self._sleep = sleep
        self.has_own_clock = True

    # Waits

    async def sleep(self, seconds: float) -> None:
        """Sleep. For more than a second the run waits, and no process does. The end is kept across restarts."""
        branch = current_branch()
        step_id = self._next_step_id(branch, "sleep")
        if seconds > _SHORT_SLEEP_S or step_id in self._history.wait_ends:
            self._wait_for(branch, step_id, "sleep", "sleep", timeout_seconds=seconds)
        elif step_id not in self._history.finished:
            with branch.running("sleep"):
                self._start(step_id, "sleep")
                await self._sleep(max(seconds, 0.0))
                self._finish(step_id, "sleep")

    async def wait_for_approval(self, question: str, *, timeout_seconds: float | None = None) -> bool:
        """Ask a person, and wait for the answer; see `Context.wait_for_approval`."""
        branch = current_branch()
        answer = self._wait_for(
            branch,
            self._next_step_id(branch, "approval"),
            "approval",
            "approval",
            reason="approval",
            asked={"question": question},
            timeout_seconds=timeout_seconds,
        )
        _raise_timeout(answer, f"No answer to {question!r} came in time")
        approved = answer.result.get("approved") if isinstance(answer.result, dict) else answer.result
        return not answer.is_error and approved is True

    async def wait_for_event(
        self,
        name: str,
        *,
        match: Mapping[str, Any] | None = None,
        timeout_seconds: float | None = None,
    ) -> Any:
        """Wait for a signal or an event of this name; see `Context.wait_for_event`."""
        branch = current_branch()
        answer = self._wait_for(
            branch,
            self._next_step_id(branch, f"event {name}"),
            f"event {name}",
            f"event:{name}",
            asked={"event": name, **members(match=match or None)},
            event=OpenEvent(name=name, tool_call_id="", match=dict(match) if match else None),
            timeout_seconds=timeout_seconds,
        )
        _raise_timeout(answer, f"The event {name!r} did not come in time")
        return await self.read(self.run.run_id, answer.result, is_reference=False)

    def _wait_for(
        self,
        branch: Branch,
        step_id: str,
        name: str,
        tool_name: str,
        *,
        reason: Literal["approval", "event"] = "event",
        asked: Mapping[str, Any] | None = None,
        event: OpenEvent | None = None,
        timeout_seconds: float | None = None,
    ) -> WaitResult:
        history = self._history
        call_id = f"{tool_name}:{self._external_id(step_id)}"
        result = history.wait_results.get(call_id)
        if result is None and history.has_timed_out(history.wait_ends.get(step_id)):
            result = WaitResult("timer")
        if result is not None:
            if step_id not in history.finished:
                timed_out = asked is not None and result.type == "timer"
                self._finish(step_id, name, **members(timedOut=timed_out or None))
            return result
        if step_id not in history.started:
            if timeout_seconds is not None:
                # In whole ms, as the server stores it: a timer that ends at this ms must not be earlier than this.
                now = self._now()
                start = now.replace(microsecond=now.microsecond // 1000 * 1000)
                history.wait_ends[step_id] = start + timedelta(milliseconds=round(timeout_seconds * 1000))
            with self.span("wait", name, step_id):
                self._start(step_id, name, **members(until=history.wait_ends.get(step_id)))
            if asked is not None:
                self._emit_custom(ASKED, {"tool_call_id": call_id, **asked})
        raise branch.suspend(
            Suspend(
                WaitRequest(
                    reason=reason,
                    call_id=call_id,
                    tool_name=tool_name,
                    resume_at=history.wait_ends.get(step_id),
                    needs_answer=asked is not None,
                    open_events=() if event is None else (replace(event, tool_call_id=call_id),),
                )
            )
        )

    def _external_id(self, step_id: str) -> str:
        """Return the id of a step for clients: a step that a retry of the run reset gets a new one."""
        retry = self._history.reset_steps.get(step_id)
        return step_id if retry is None else f"{step_id}~{retry}"

    # Child runs

    async def spawn(self, request: RunRequest, title: str | None = None) -> "Child[Any]":
        """Create a child run of `task:…`, `workflow:…` or `eval:…`, once."""
        target, config, input_, returns = request
        if split_target(target)[0] == "agent":
            raise ValueError(f"An agent's run is created by client.start, not by spawn: {target!r}")
        branch, step_name = current_branch(), f"spawn {target}"
        step_id = self._next_step_id(branch, step_name)
        run_id = f"run_{self._uuid(self._external_id(step_id))}"
        if (finished := self._history.finished.get(step_id)) is not None:
            return Child(
                self, finished.result["run_id"], returns
            )  # that of an earlier run, if this is its retry
        with branch.running(step_name), self.span("spawn", target, step_id):
            self._start(step_id, step_name)
            # Every try uses the same id, so a repeated creation returns the run that exists.
            project = self.run.project_id or ""
            creation = self.calls.runs.create(
                target,
                input=input_,
                config=config,
                id=run_id,
                parent_run_id=self.run.run_id,
                title=title,
                project=project,
                if_differs="warn" if self.codec is None else "ignore",
            )
            await self.send(creation.with_owner(project))
            self._finish(step_id, step_name, result={"run_id": run_id})
        return Child(self, run_id, returns)

    async def wait_for_run(self, run_id: str) -> Run:
        """Return a child run once it has ended. Until then this run waits, and no process does.

        Raise RunFailed with CHILD_GONE where the child was deleted.
        """
        branch = current_branch()
        step_id = self._next_step_id(branch, f"end of {run_id}")
        with branch.running(f"end of {run_id}"):
            try:
                run = await self.send(self.calls.runs.get(run_id))
            except RunsteadError as error:
                if error.status != 404:
                    raise
                raise RunFailed(f"The child run {run_id} was deleted", "CHILD_GONE") from error
        if not run.terminal:
            is_own, now = run.parent_run_id == self.run.run_id, self._now()
            # The end of another run's child resumes that run. This run, a retry of it, polls for the end.
            pause = min(max((now - run.created_at) / 10, _POLL_AFTER), _POLL_AFTER_MAX)
            request = WaitRequest(
                reason="event",
                call_id=f"run:{run_id}:{step_id}",
                tool_name=f"run:{run_id}",
                awaited_run_id=run_id if is_own else None,
                resume_at=None if is_own else now + pause,
            )
            raise branch.suspend(Suspend(request))
        return with_error(run, self.codec)

    # Values that are the same in every try

    def now(self) -> datetime:
        """Return the time in UTC, the same in every try."""
        step_id = self._next_step_id(current_branch(), "now")
        if step_id not in self._history.values:
            text = self._now().isoformat()
            self._history.values[step_id] = text
            self._emit_custom(NOW, {"step_id": step_id, "value": text})
        return datetime.fromisoformat(self._history.values[step_id])

    def patched(self, patch: str) -> bool:
        """Return whether the run takes the new code of a patch; see `Context.patched`."""
        branch, history = current_branch(), self._history
        branch.check(f"patched {patch}")
        answer = history.patch_answer(patch, branch.prefix)
        if answer is None:
            answer = not history.has_passed(branch.prefix, branch.count)
            if answer:
                self._emit_custom(PATCHED, {"id": patch, "branch": branch.prefix})
            history.patches[patch, branch.prefix] = answer
        return answer

    def random(self) -> float:
        """Return a random number from 0 to below 1, the same in every try. Do not use it for secrets."""
        step_id = self._next_step_id(current_branch(), "random")
        run_id = self._history.run_of(step_id, self.run.run_id)
        return random_numbers.Random(f"{run_id}/{step_id}").random()  # noqa: S311

    def uuid(self) -> uuids.UUID:
        """Return a UUID of this run and this step, the same in every try."""
        step_id = self._next_step_id(current_branch(), "uuid")
        return self._uuid(step_id, self._history.run_of(step_id, self.run.run_id))

    def _uuid(self, name: str, run_id: str | None = None) -> uuids.UUID:
        return uuids.uuid5(uuids.NAMESPACE_OID, f"{self.run.project_id}/{run_id or self.run.run_id}/{name}")

    # The end of a try

    def retry_wait(self, error: BaseException, max_retries: int) -> WaitRequest | None:
        """Record which step failed the try. Return the wait before the next try, None where the run fails."""
        cause = error if isinstance(error, ProcessFailed) else failed_step_of(error)
        step_id = None if cause is None else cause.step_id
        block = error.block_step_id if isinstance(error, ProcessFailed) else None
        block = block or self.first_block_step(error)
        number = self._history.retries + 1
        if not isinstance(error, Exception) or number > max_retries or is_final(error):
            if step_id is not None or block is not None:  # a retry of the run can go on from there
                value = members(step_id=step_id, block_step_id=block)
                self._emit_custom(FAILED_STEP, value)
            return None
        retry = {
            "retry": number,
            "of": max_retries,
            "message": without_surrogates(str(error)[:_MESSAGE_CHARS])
            if self.codec is None
            else HIDDEN_MESSAGE,
            "code": error_code(error),
            "step_id": step_id,
            "block_step_id": block,
        }
        self._emit_custom(RETRIED, retry)
        at = self._now() + timedelta(seconds=backoff_s(1.0, number - 1))
        return WaitRequest(reason="event", call_id=f"retry:{number}", tool_name="retry", resume_at=at)

    async def signals(self, name: str) -> AsyncIterator[Any]:
        """Yield the payloads of the run's signals of this name, one after the other, without end."""
        while True:
            yield await self.wait_for_event(name)

    async def park(self, request: WaitRequest) -> Waiting:
        """Make the run wait and give its lease back, in one call. It does not wait if the result has come already."""
        return await self.send(
            self.calls.runs.wait(
                self.run.run_id,
                request.reason,
                tool_call_id=request.call_id,
                tool_name=request.tool_name,
                resume_at=request.resume_at,
                awaited_run_id=request.awaited_run_id,
                open_approvals=request.open_approvals,
                open_events=request.open_events,
                release=True,
                **self.fence,
            )
        )


class Child(Generic[T_co]):
    """A child run that the handler started. `id` is its run id."""

    def __init__(self, context: Waits, run_id: str, returns: Any = Any) -> None:
        self.id = run_id
        self._attempt = context
        self._returns = returns

    @overload
    async def result(self) -> T_co: ...
    @overload
    async def result(self, type: type[U], /) -> U: ...
    @tracked
    async def result(self, *types: Any) -> Any:
        """Wait until the child has ended, and return its output, as the type that its function returns.

        `await child.result(Receipt)` converts the output of a string target. Raise ChildFailed unless the child
        completed, and msgspec.ValidationError where the output does not fit the type.
        """
        run = await self.wait()
        if run.status != "completed":
            raise ChildFailed(run)
        output = await self._attempt.read(run.run_id, run.output)
        return converted(output, types[0] if types else self._returns)

    @tracked
    async def wait(self) -> Run:
        """Wait until the child has ended in any way, and return its run."""
        return await self._attempt.wait_for_run(self.id)


def _raise_timeout(result: WaitResult, sentence: str) -> None:
    if result.type == "timer":
        raise WaitTimeout(sentence)
