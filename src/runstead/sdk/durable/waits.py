"""What makes a handler durable: steps whose results are kept, waits that no process sits through, values that repeat.

A handler that is taken up again runs from its beginning; what is here answers from the run's log, and is done anew only
where the log ends. So a handler must ask for the same steps in the same order each time, and leave everything that may
differ (the time, chance, what other systems say) to steps, `now`, `random` and `uuid`.
"""

import random as chance
import uuid as uuids
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

from runstead.sdk.durable.branch import Branch
from runstead.sdk.durable.emitter import RunFailed
from runstead.sdk.durable.history import ASKED, CUSTOM, RETRIED, VALUE, WaitResult
from runstead.sdk.durable.step_results import ChildFailed, WaitTimeout, error_code, failed_step_of
from runstead.sdk.durable.step_runner import StepRunner, backoff_s, here
from runstead.sdk.durable.suspension import Suspend, WaitRequest
from runstead.sdk.errors import RunsteadError
from runstead.sdk.isolation.failure import ProcessFailed
from runstead.sdk.models.run import Run
from runstead.sdk.routes.call import members

#: Shorter sleeps are slept through by the worker.
_SHORT_SLEEP_S: Final = 1.0
_MESSAGE_CHARS: Final = 1024


class Waits(StepRunner):
    """The durable half of a context: steps, waits, other runs, and values that repeat."""

    _now: Callable[[], datetime] = staticmethod(lambda: datetime.now(UTC))
    #: Somebody else keeps the time: no other process has the same.
    has_own_clock = False

    def use_clock(self, now: Callable[[], datetime], sleep: Callable[[float], Awaitable[object]]) -> None:
        """Take the time from these, as tests do."""
        self._now = now
        self._sleep = sleep
        self.has_own_clock = True

    # Waits

    async def sleep(self, seconds: float) -> None:
        """Sleep; over a second, the run waits and no process does. Restarts and moves change nothing of it."""
        branch = here()
        step_id = self._enter(branch, "sleep")
        if seconds > _SHORT_SLEEP_S or step_id in self._history.untils:
            self._wait_for(branch, step_id, "sleep", "sleep", timeout_seconds=seconds)
        elif step_id not in self._history.finished:
            with branch.busy("sleep"):
                self._start(step_id, "sleep")
                await self._sleep(max(seconds, 0.0))
                self._finish(step_id, "sleep")

    async def wait_for_approval(self, question: str, *, timeout_seconds: float | None = None) -> bool:
        """Ask a person, and wait: `POST /runs/{run_id}/resume {type: "approval", tool_call_id, result}` answers, with
        true, false or {"approved": …}. WaitTimeout where nobody does in time.
        """
        branch = here()
        answer = self._wait_for(
            branch,
            self._enter(branch, "approval"),
            "approval",
            "approval",
            reason="approval",
            asked={"question": question},
            timeout_seconds=timeout_seconds,
        )
        _refuse_timer(answer, f"Nobody answered {question!r} in time")
        told = answer.result.get("approved") if isinstance(answer.result, dict) else answer.result
        return not answer.is_error and told is True

    async def wait_for_event(self, name: str, *, timeout_seconds: float | None = None) -> Any:
        """Wait for something from outside: `POST /runs/{run_id}/resume {type: "event", tool_call_id, result}`; the
        result is answered. WaitTimeout where it does not come in time.
        """
        branch = here()
        answer = self._wait_for(
            branch,
            self._enter(branch, f"event {name}"),
            f"event {name}",
            f"event:{name}",
            asked={"event": name},
            timeout_seconds=timeout_seconds,
        )
        _refuse_timer(answer, f"The event {name!r} did not come in time")
        return answer.result

    def _wait_for(
        self,
        branch: Branch,
        step_id: str,
        name: str,
        what: str,
        *,
        reason: Literal["approval", "event"] = "event",
        asked: Mapping[str, Any] | None = None,
        timeout_seconds: float | None = None,
    ) -> WaitResult:
        history = self._history
        call_id = f"{what}:{self._named(step_id)}"
        answer = history.answers.get(call_id)
        if answer is None and history.over(history.untils.get(step_id)):
            answer = WaitResult("timer")
        if answer is not None:
            if step_id not in history.finished:
                self._finish(step_id, name)
            return answer
        if step_id not in history.begun:
            if timeout_seconds is not None:
                # To the ms, as the server reads it: an end told at that ms must not be before it.
                now = self._now()
                until = now.replace(microsecond=now.microsecond // 1000 * 1000)
                history.untils[step_id] = until + timedelta(milliseconds=round(timeout_seconds * 1000))
            self._start(step_id, name, **members(until=history.untils.get(step_id)))
            if asked is not None:
                self.emit_nowait({"type": CUSTOM, "name": ASKED, "value": {"tool_call_id": call_id, **asked}})
        raise branch.leave(
            Suspend(
                WaitRequest(
                    reason=reason,
                    call_id=call_id,
                    what=what,
                    resume_at=history.untils.get(step_id),
                    asks=asked is not None,
                )
            )
        )

    def _named(self, step_id: str) -> str:
        """As others know it: what a retry of the run has forgotten is another step to them."""
        retry = self._history.forgotten.get(step_id)
        return step_id if retry is None else f"{step_id}~{retry}"

    # Other runs

    async def spawn(
        self,
        target: str,
        *,
        config: Mapping[str, Any] | None = None,
        input: Any = None,  # noqa: A002 - the member's name on the wire
        title: str | None = None,
    ) -> "Child":
        """Create a run below this one, once: `task:…`, `workflow:…` or `eval:…`. It runs beside this one."""
        kind, _, name = target.partition(":")
        if kind not in ("task", "workflow", "eval") or not name:
            raise ValueError(f"A target is like task:index, workflow:nightly or eval:quality, not {target!r}")
        branch, step_name = here(), f"spawn {target}"
        step_id = self._enter(branch, step_name)
        run_id = f"run_{self._uuid(self._named(step_id))}"
        if step_id in self._history.finished:
            return Child(self, run_id)
        with branch.busy(step_name):
            request = members(
                target=target, config=config, input=input, workflow_id=name if kind == "workflow" else None
            )
            body = members(
                kind=kind,
                public_id=run_id,
                parent_run_id=self.run.run_id,
                owner={"kind": "project", "id": self.run.project_id},
                request=request,
                title=title,
            )
            self._start(step_id, step_name)
            # The same id each time: created again, it is the run that is there already.
            await self.send(self.calls.create_run(body))
            self._finish(step_id, step_name, result={"run_id": run_id})
        return Child(self, run_id)

    async def ended(self, run_id: str) -> Run:
        """A run right below this one once it has ended. Until then this one waits, and no process does. RunFailed with
        CHILD_GONE where it was deleted.
        """
        branch = here()
        step_id = self._enter(branch, f"end of {run_id}")
        with branch.busy(f"end of {run_id}"):
            try:
                run = await self.send(self.calls.get_run(run_id))
            except RunsteadError as error:
                if error.status != 404:
                    raise
                raise RunFailed(f"The run {run_id} below this one was deleted", "CHILD_GONE") from error
        if not run.terminal:
            call_id = f"run:{run_id}:{step_id}"
            raise branch.leave(
                Suspend(
                    WaitRequest(reason="event", call_id=call_id, what=f"run:{run_id}", awaited_run_id=run_id)
                )
            )
        return run

    # Values that repeat

    def now(self) -> datetime:
        """The time, with its zone (UTC); the same when the handler runs again."""
        step_id = self._enter(here(), "now")
        if step_id not in self._history.values:
            told = self._now().isoformat()
            self._history.values[step_id] = told
            value = {"step_id": step_id, "name": "now", "value": told}
            self.emit_nowait({"type": CUSTOM, "name": VALUE, "value": value})
        return datetime.fromisoformat(self._history.values[step_id])

    def random(self) -> float:
        """A number from 0 to 1, below 1; the same when the handler runs again. Not for secrets."""
        return chance.Random(f"{self.run.run_id}/{self._enter(here(), 'random')}").random()  # noqa: S311

    def uuid(self) -> uuids.UUID:
        """A UUID of this run and this place in it; the same when the handler runs again."""
        return self._uuid(self._enter(here(), "uuid"))

    def _uuid(self, step_id: str) -> uuids.UUID:
        return uuids.uuid5(uuids.NAMESPACE_OID, f"{self.run.project_id}/{self.run.run_id}/{step_id}")

    # Leaving a handler

    def retry_wait(self, number: int, most: int, error: Exception) -> WaitRequest:
        """What a run waits for before the handler is tried again."""
        cause = error if isinstance(error, ProcessFailed) else failed_step_of(error)
        told = {
            "retry": number,
            "of": most,
            "message": _whole(str(error)[:_MESSAGE_CHARS]),
            "code": error_code(error),
            "step_id": None if cause is None else cause.step_id,
        }
        self.emit_nowait({"type": CUSTOM, "name": RETRIED, "value": told})
        at = self._now() + timedelta(seconds=backoff_s(1.0, number - 1))
        return WaitRequest(reason="event", call_id=f"retry:{number}", what="retry", resume_at=at)

    async def park(self, wanted: WaitRequest) -> bool:
        """Let the run wait and give its lease back, in one step; False where the answer has come already."""
        answer = await self.send(
            self.calls.wait(
                self.run.run_id,
                wanted.reason,
                tool_call_id=wanted.call_id,
                tool_name=wanted.what,
                resume_at=wanted.resume_at,
                awaited_run_id=wanted.awaited_run_id,
                release=True,
                attempt=self.run.attempt,
                lease_token=self.run.lease_token,
            )
        )
        return answer.run.status == "waiting"


class Child:
    """A run that a handler has spawned."""

    def __init__(self, context: Waits, run_id: str) -> None:
        self._context = context
        self.run_id = run_id

    async def result(self, *, check: bool = True) -> Run:
        """The run once it has ended; meanwhile the one that asks waits. ChildFailed unless it completed, or with
        `check=False` the run however it ended.
        """
        run = await self._context.ended(self.run_id)
        if check and run.status != "completed":
            raise ChildFailed(run)
        return run


def _whole(text: str) -> str:
    """Without lone surrogates, which JSON cannot carry."""
    return text.encode("utf-8", "replace").decode()


def _refuse_timer(answer: WaitResult, sentence: str) -> None:
    if answer.type == "timer":
        raise WaitTimeout(sentence)
