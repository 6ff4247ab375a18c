"""What makes a handler durable: steps whose results are kept, waits that no process sits through, values that repeat.

A handler that is taken up again runs from its beginning; what is here answers from the run's log, and is done anew only
where the log ends. So a handler must ask for the same steps in the same order each time, and leave everything that may
differ (the time, chance, what other systems say) to steps, `now`, `random` and `uuid`.
"""

import asyncio
import contextvars
import inspect
import random as chance
import uuid as uuids
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal, TypeVar, cast, overload

import msgspec

from runstead.sdk.call import members
from runstead.sdk.history import CUSTOM, RETRIED, STEP_FINISHED, STEP_STARTED, VALUE, Answer, Failure, History
from runstead.sdk.isolation.failure import ProcessFailed
from runstead.sdk.run import Run
from runstead.sdk.steps import (
    Branch,
    ChildFailed,
    StepFailed,
    WaitTimeout,
    changed,
    code_of,
    decoded,
    nested,
)
from runstead.sdk.suspension import Suspend, Wanted, first
from runstead.sdk.telling import LeaseLostError, Telling
from runstead.sdk.threads import in_thread

T = TypeVar("T")

#: Shorter sleeps are slept through by the worker.
_NAP_S: Final = 1.0
_BACKOFF_S_MAX: Final = 300.0
_branch: contextvars.ContextVar[Branch | None] = contextvars.ContextVar("branch", default=None)


class Durable(Telling):
    """The durable half of a context."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._history = History()
        self._rounds = 0

    def begin(self, history: History, rounds: int | None = None) -> None:
        """Run from the beginning, with this to answer from. `rounds` is how often this attempt has done so by then, where
        it did so in other processes.
        """
        self._history = history
        self._rounds = rounds or self._rounds + 1
        _branch.set(Branch(""))

    # Steps

    async def step(
        self,
        name: str,
        function: Callable[..., Awaitable[T] | T],
        *args: Any,
        retries: int = 0,
        backoff_seconds: float = 1.0,
        timeout_seconds: float | None = None,
        **kwargs: Any,
    ) -> T:
        """Call the function once and keep what it returns (any JSON up to 256 KiB): it is not called again, on whatever
        machine the run is taken up. A plain function runs in a thread. The answer is what the JSON says, as the
        function's return annotation reads it.

        It is tried `retries` times more, after a backoff that doubles; `timeout_seconds` bounds each try. StepFailed.
        """
        step_id = self._enter(name)
        done = self._history.finished.get(step_id)
        if done is not None:
            if done.error is not None:
                raise StepFailed(name, step_id, done.error)
            return cast(T, decoded(done.result, function))
        self.tell({"type": STEP_STARTED, "stepName": name, "stepId": step_id})
        await self.flush()
        tries = 0
        while True:
            try:
                with nested(name, f"{step_id}/{self.run.attempt}.{self._rounds}.{tries}"):
                    result = await self._bounded(timeout_seconds, self._call(function, args, kwargs))
                encoded = msgspec.json.encode(result)
            except LeaseLostError:
                raise
            except Exception as error:
                if tries >= retries:
                    failure = Failure(str(error) or type(error).__name__, code_of(error))
                    self.tell({"type": STEP_FINISHED, "stepName": name, "stepId": step_id, "error": failure})
                    await self.flush()
                    raise StepFailed(name, step_id, failure) from error
                tries += 1
                self.tell(
                    {
                        "type": CUSTOM,
                        "name": "run.step_retried",
                        "value": {
                            "step_id": step_id,
                            "step_name": name,
                            "tries": tries,
                            "message": str(error),
                        },
                    }
                )
                await self._sleep(min(backoff_seconds * 2 ** (tries - 1), _BACKOFF_S_MAX))
            else:
                break
        told = {"type": STEP_FINISHED, "stepName": name, "stepId": step_id, "result": msgspec.Raw(encoded)}
        self.tell(told)
        await self.flush()
        return cast(T, decoded(msgspec.json.decode(encoded), function))

    async def _call(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Any:
        if inspect.iscoroutinefunction(function):
            return await function(*args, **kwargs)
        result = await in_thread(lambda: function(*args, **kwargs), f"runstead-{self.run.run_id}")
        return await result if inspect.isawaitable(result) else result

    async def _bounded(self, seconds: float | None, work: Awaitable[T]) -> T:
        if seconds is None:
            return await work
        async with asyncio.timeout(seconds):
            return await work

    @property
    def rounds(self) -> int:
        return self._rounds

    @property
    def branch(self) -> Branch | None:
        """Where the handler is; None for one that is not served by an app, and has no steps."""
        return _branch.get()

    def _enter(self, name: str) -> str:
        """The id of the next step of this branch; RunFailed with NON_DETERMINISTIC where the log has another there."""
        branch = _branch.get()
        assert branch is not None, "outside of a handler"
        step_id = branch.next_id(name)
        known = self._history.names.get(step_id)
        if known is not None and known != name:
            raise changed(step_id, known, name)
        return step_id

    @overload
    async def gather(self, one: Awaitable[T], /, *more: Awaitable[T]) -> list[T]: ...
    @overload
    async def gather(self, *work: Awaitable[Any]) -> list[Any]: ...
    async def gather(self, *work: Awaitable[Any]) -> list[Any]:
        """Do them at the same time, and answer what they returned, in order. Each may have steps of its own. Where one
        fails the others are cancelled.
        """
        branch = _branch.get()
        assert branch is not None, "outside of a handler"
        place = branch.next_id("gather")
        tasks = []
        for number, one in enumerate(work, 1):
            context = contextvars.copy_context()
            context.run(_branch.set, Branch(f"{place}.{number}."))
            tasks.append(asyncio.create_task(_awaited(one), context=context))
        try:
            left = set(tasks)
            while left:
                done, left = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    if task.cancelled():
                        raise asyncio.CancelledError
                    error = task.exception()
                    if error is not None and not isinstance(error, Suspend):
                        raise error
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        waits = [error for task in tasks if isinstance(error := task.exception(), Suspend)]
        if waits:
            raise first(waits)
        return [task.result() for task in tasks]

    # Waits

    async def sleep(self, seconds: float) -> None:
        """Sleep; over a second, the run waits and no process does. Restarts and moves change nothing of it."""
        step_id = self._enter("sleep")
        if seconds <= _NAP_S:
            await self._sleep(max(seconds, 0.0))
            return
        await self._wait_for(step_id, "sleep", "sleep", timeout_seconds=seconds)

    async def wait_for_approval(self, question: str, *, timeout_seconds: float | None = None) -> bool:
        """Ask a person, and wait: `POST /runs/{run_id}/resume {type: "approval", tool_call_id, result}` answers, with
        true, false or {"approved": …}. WaitTimeout where nobody does in time.
        """
        step_id = self._enter("approval")
        answer = await self._wait_for(
            step_id,
            "approval",
            "approval",
            reason="approval",
            asked={"question": question},
            timeout_seconds=timeout_seconds,
        )
        _refuse_timer(answer, f"Nobody answered {question!r} in time")
        told = answer.result.get("approved") if isinstance(answer.result, dict) else answer.result
        return not answer.is_error and told is not False and told is not None

    async def wait_for_event(self, name: str, *, timeout_seconds: float | None = None) -> Any:
        """Wait for something from outside: `POST /runs/{run_id}/resume {type: "event", tool_call_id, result}`; the
        result is answered. WaitTimeout where it does not come in time.
        """
        step_id = self._enter(f"event {name}")
        answer = await self._wait_for(
            step_id,
            f"event {name}",
            f"event:{name}",
            asked={"event": name},
            timeout_seconds=timeout_seconds,
        )
        _refuse_timer(answer, f"The event {name!r} did not come in time")
        return answer.result

    async def _wait_for(
        self,
        step_id: str,
        name: str,
        what: str,
        *,
        reason: Literal["approval", "event"] = "event",
        asked: Mapping[str, Any] | None = None,
        timeout_seconds: float | None = None,
    ) -> Answer:
        call_id = f"{what}:{step_id}"
        answer = self._history.answers.get(call_id)
        if answer is not None:
            return answer
        until = self._history.untils.get(step_id)
        if step_id not in self._history.names:
            if timeout_seconds is not None:
                until = datetime.now(UTC) + timedelta(seconds=timeout_seconds)
            self.tell({"type": STEP_STARTED, "stepName": name, "stepId": step_id, "until": until})
            if asked is not None:
                self.tell({"type": CUSTOM, "name": "run.asked", "value": {"tool_call_id": call_id, **asked}})
        raise Suspend(Wanted(reason=reason, call_id=call_id, what=what, resume_at=until))

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
        step_id = self._enter(f"spawn {target}")
        run_id = f"run_{self._uuid(step_id)}"
        if step_id not in self._history.finished:
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
            await self.send(self.calls.create_run(body))
            self.tell(
                {
                    "type": STEP_FINISHED,
                    "stepName": f"spawn {target}",
                    "stepId": step_id,
                    "result": {"run_id": run_id},
                }
            )
        return Child(self, run_id)

    async def ended(self, run_id: str) -> Run:
        """A run once it has ended. Until then this one waits, and no process does."""
        step_id = self._enter(f"end of {run_id}")
        run = await self.send(self.calls.get_run(run_id))
        if not run.terminal:
            call_id = f"run:{run_id}:{step_id}"
            raise Suspend(
                Wanted(reason="event", call_id=call_id, what=f"run:{run_id}", awaited_run_id=run_id)
            )
        return run

    # Values that repeat

    def now(self) -> datetime:
        """The time, with its zone (UTC); the same when the handler runs again."""
        step_id = self._enter("now")
        if step_id not in self._history.values:
            told = datetime.now(UTC).isoformat()
            self._history.values[step_id] = told
            self.tell({"type": CUSTOM, "name": VALUE, "value": {"step_id": step_id, "value": told}})
        return datetime.fromisoformat(self._history.values[step_id])

    def random(self) -> float:
        """A number from 0 to 1, below 1; the same when the handler runs again. Not for secrets."""
        return chance.Random(f"{self.run.run_id}/{self._enter('random')}").random()  # noqa: S311

    def uuid(self) -> uuids.UUID:
        """A UUID of this run and this place in it; the same when the handler runs again."""
        return self._uuid(self._enter("uuid"))

    def _uuid(self, step_id: str) -> uuids.UUID:
        return uuids.uuid5(uuids.NAMESPACE_OID, f"{self.run.project_id}/{self.run.run_id}/{step_id}")

    # Leaving a handler

    def again(self, number: int, most: int, error: Exception) -> Wanted:
        """What a run waits for before the handler is tried again."""
        step_id = error.step_id if isinstance(error, StepFailed | ProcessFailed) else None
        told = {
            "retry": number,
            "of": most,
            "message": str(error),
            "code": code_of(error),
            "step_id": step_id,
        }
        self.tell({"type": CUSTOM, "name": RETRIED, "value": told})
        pause = timedelta(seconds=min(2.0 ** (number - 1), _BACKOFF_S_MAX))
        return Wanted(
            reason="event", call_id=f"retry:{number}", what="retry", resume_at=datetime.now(UTC) + pause
        )

    async def park(self, wanted: Wanted) -> bool:
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

    def __init__(self, context: Durable, run_id: str) -> None:
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


async def _awaited(one: Awaitable[T]) -> T:
    return await one


def _refuse_timer(answer: Answer, sentence: str) -> None:
    if answer.type == "timer":
        raise WaitTimeout(sentence)
