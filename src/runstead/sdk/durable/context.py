"""The context that a handler receives with its run. docs/context.md describes its members."""

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Never, ParamSpec, TypeAlias, TypeVar, TypeVarTuple, overload
from uuid import UUID

import msgspec

from runstead.sdk.durable.attempt import Attempt
from runstead.sdk.durable.emitter import LeaseLostError, Source
from runstead.sdk.durable.message_stream import Message, Role, ToolCall
from runstead.sdk.durable.pending_calls import tracked
from runstead.sdk.durable.races import First
from runstead.sdk.durable.step_options import Step
from runstead.sdk.durable.waits import Child
from runstead.sdk.errors import RunFailed
from runstead.sdk.models.artifact import StoredArtifact
from runstead.sdk.models.lease import ClaimedRun
from runstead.sdk.task import Task, run_request

__all__ = ["Context", "HandlerContext", "LeaseLostError", "RunFailed", "attempt_of"]

P = ParamSpec("P")
T = TypeVar("T")
Ts = TypeVarTuple("Ts")
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
E = TypeVar("E")
#: What `await` gives for a method. The methods are no coroutine functions themselves: each returns the attempt's own
#: coroutine, so that one layer runs and not two.
Awaits: TypeAlias = Coroutine[Any, Any, T]


class HandlerContext:
    """What the contexts of coroutines and of plain functions have in common."""

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt

    @property
    def run(self) -> ClaimedRun:
        """The run as it was claimed: `run_id`, `config`, `input`, `attempt`, `conversation_id` and so on."""
        return self._attempt.run

    @property
    def cancelled(self) -> bool:
        """Whether the worker no longer has the run. A handler in a thread has to check it: a thread is not interrupted."""
        return self._attempt.cancelled

    @property
    def suspending(self) -> bool:
        """Whether `finally` and `except` blocks run because the run waits. At a real end it is false.

        It is for code in such blocks that is not in a step: every other call of the context in them is refused.
        """
        return self._attempt.suspending

    @property
    def metadata(self) -> dict[str, Any] | None:
        """Set it to a JSON object, which is sent with the completion. Its members override the sums of `usage`."""
        return self._attempt.metadata

    @metadata.setter
    def metadata(self, value: dict[str, Any] | None) -> None:
        self._attempt.metadata = value

    @property
    def exit_code(self) -> int | None:
        """Set it to the exit code of a program, which is sent with the completion."""
        return self._attempt.exit_code

    @exit_code.setter
    def exit_code(self, value: int | None) -> None:
        self._attempt.exit_code = value

    def log(self, line: str) -> None:
        """Add a line to the run's log, with its time, attempt and step. A replay does not add it again.

        The last MiB is sent with the completion. Any thread may call it.
        """
        self._attempt.log(line)


def attempt_of(ctx: HandlerContext) -> Attempt:
    """Return the attempt behind a context, for the SDK's own code."""
    return ctx._attempt  # noqa: SLF001 - the one place that opens it


class Context(HandlerContext):
    """A handler's interface to one attempt of its run. A plain function gets a `ThreadContext`."""

    # Steps

    @overload
    def step(
        self, name: str, function: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Awaits[T]: ...
    @overload
    def step(
        self, name: str, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> Awaits[T]: ...
    @overload
    def step(
        self, name: str, function: Callable[[*Ts], Awaitable[T]], /, *args: *Ts, options: Step
    ) -> Awaits[T]: ...
    @overload
    def step(self, name: str, function: Callable[[*Ts], T], /, *args: *Ts, options: Step) -> Awaits[T]: ...
    @overload
    def step(
        self,
        name: str,
        function: Callable[P, Awaitable[T]],
        /,
        options: Step,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Awaits[T]: ...
    @overload
    def step(
        self, name: str, function: Callable[P, T], /, options: Step, *args: P.args, **kwargs: P.kwargs
    ) -> Awaits[T]: ...
    @overload
    def step(
        self, function: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Awaits[T]: ...
    @overload
    def step(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Awaits[T]: ...
    @overload
    def step(self, function: Callable[[*Ts], Awaitable[T]], /, *args: *Ts, options: Step) -> Awaits[T]: ...
    @overload
    def step(self, function: Callable[[*Ts], T], /, *args: *Ts, options: Step) -> Awaits[T]: ...
    @overload
    def step(
        self, function: Callable[P, Awaitable[T]], /, options: Step, *args: P.args, **kwargs: P.kwargs
    ) -> Awaits[T]: ...
    @overload
    def step(
        self, function: Callable[P, T], /, options: Step, *args: P.args, **kwargs: P.kwargs
    ) -> Awaits[T]: ...
    def step(self, *args: Any, **kwargs: Any) -> Awaits[Any]:  # type: ignore[misc]  # mypy knows no such implementation
        """Call a function once, and store its result (any JSON up to 64 MiB).

        `ctx.step("fetch", fetch, url)` or, named after the function, `ctx.step(fetch, url)`. Later tries of the
        handler, on any worker, get the stored result instead of calling the function. A plain function runs in a
        thread. The result is decoded from JSON by the function's return annotation.

        `options=Step(retries=3, timeout=30)` retries and bounds it. With it the function's arguments are all
        positional or all keywords; to mix them, give the options directly after the function. Raise StepFailed after
        the last call. If a worker dies after the function returned and before the result is stored, the function is
        called again.
        """
        return self._attempt.step(*args, **kwargs)

    @overload
    def gather(self, one: Awaitable[A], two: Awaitable[B], /) -> Awaits[tuple[A, B]]: ...
    @overload
    def gather(
        self, one: Awaitable[A], two: Awaitable[B], three: Awaitable[C], /
    ) -> Awaits[tuple[A, B, C]]: ...
    @overload
    def gather(
        self, one: Awaitable[A], two: Awaitable[B], three: Awaitable[C], four: Awaitable[D], /
    ) -> Awaits[tuple[A, B, C, D]]: ...
    @overload
    def gather(
        self,
        one: Awaitable[A],
        two: Awaitable[B],
        three: Awaitable[C],
        four: Awaitable[D],
        five: Awaitable[E],
        /,
    ) -> Awaits[tuple[A, B, C, D, E]]: ...
    @overload
    def gather(self, *work: Awaitable[T]) -> Awaits[list[T]]: ...
    @tracked
    def gather(self, *work: Awaitable[Any]) -> Awaits[Any]:
        """Await the work concurrently, and return its results in order: a tuple of up to five, or a list.

        Each branch may call steps and waits. Where one branch fails, the others are cancelled and its exception is
        raised.
        """
        return self._attempt.gather(*work)

    @tracked
    def first(self, **waits: Awaitable[T]) -> Awaits[First[T]]:
        """Return the name and the value of the wait that ends first:
        `await ctx.first(paid=ctx.wait_for_event("paid"), late=ctx.sleep(600))`.

        The choice is stored, so each try of the handler gets the same. The other waits are cancelled and closed in
        the log; an answer to them has no effect. If the first one failed, its exception is raised. Where several have ended when
        the handler runs again, the one that is named first is chosen. A child run among several waits is noticed
        within 30 seconds of its end. Raise TypeError without waits.
        """
        return self._attempt.first(**waits)

    # Waits

    @tracked
    def sleep(self, seconds: float) -> Awaits[None]:
        """Sleep. For more than a second the run waits, and no process does. The end is kept across restarts."""
        return self._attempt.sleep(seconds)

    @tracked
    def wait_for_approval(self, question: str, *, timeout_seconds: float | None = None) -> Awaits[bool]:
        """Ask a person, and return whether the answer is yes. Raise WaitTimeout where none comes in time.

        `POST /runs/{run_id}/resume {type: "approval", tool_call_id, result}` answers with true, false or
        {"approved": …}.
        """
        return self._attempt.wait_for_approval(question, timeout_seconds=timeout_seconds)

    @tracked
    def wait_for_event(
        self,
        name: str,
        *,
        match: Mapping[str, Any] | None = None,
        timeout_seconds: float | None = None,
    ) -> Awaits[Any]:
        """Wait for a signal or an event of this name, and return its payload (any JSON). Raise WaitTimeout where none
        comes in time.

        `run.signal(name, payload)` sends a signal, or `POST /runs/{run_id}/signals`. One that was sent before the run
        waits is kept: each is taken once, oldest first. `client.events.publish(name, data)` publishes an event to all
        runs of the project that wait for it at that time. `match` chooses events by values in their data, all of which
        must be equal: `match={"order.id": "o-77"}`.
        """
        return self._attempt.wait_for_event(name, match=match, timeout_seconds=timeout_seconds)

    @tracked
    def ask(
        self, title: str, fields: Sequence[Mapping[str, Any]], *, description: str | None = None
    ) -> Awaits[dict[str, Any]]:
        """Ask a person or a service to fill in a form, and return the values by field. The run waits meanwhile.

        1 to 100 fields: `[{"name": "token", "label": "Token", "type": "password"}]`. The value of a secret field is a
        `SecretValue`: it is in no log, and each try reads it from the server. Only a run in a conversation asks with
        forms. Raise RunFailed with FORM_CANCELLED for a cancelled form, and RunsteadError with SECRETS_NOT_KEPT where
        the server has no encryption key.
        """
        return self._attempt.ask(title, fields, description=description)

    def signals(self, name: str) -> AsyncIterator[Any]:
        """Yield the payloads of the run's signals of this name as they come: `async for message in ctx.signals("chat")`.

        Each is a wait like `wait_for_event`, so the run waits between two signals, and no process does. It never ends
        by itself: leave the loop by `break` or `return`.
        """
        return self._attempt.signals(name)

    # Child runs

    @overload
    def spawn(
        self,
        target: Task[P, T],
        /,
        _by_name: Never = ...,
        title: str | None = None,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Awaits[Child[T]]: ...
    @overload
    def spawn(
        self,
        target: str,
        /,
        *,
        config: Mapping[str, Any] | None = None,
        input: Any = None,
        title: str | None = None,
    ) -> Awaits[Child[Any]]: ...
    @tracked
    def spawn(
        self, target: Any, /, *args: Any, title: str | None = None, **arguments: Any
    ) -> Awaits[Child[Any]]:
        """Create a child run, once: `child = await ctx.spawn(book, line=line)`. It runs concurrently with this run.

        `book` is a function with a decorator of the app, and gets its arguments by name. A target of another program
        is a string, `ctx.spawn("task:book", input={"line": line})`, of `task:…`, `workflow:…` or `eval:…`. `title` is
        shown to people. Raise ValueError for another target, TypeError for arguments that do not fit the function.
        """
        return self._attempt.spawn(run_request(target, args, arguments), title)

    # Compensations

    @overload
    def compensate(
        self,
        target: Task[P, Any],
        /,
        _by_name: Never = ...,
        title: str | None = None,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Awaits[None]: ...
    @overload
    def compensate(
        self,
        target: str,
        /,
        *,
        config: Mapping[str, Any] | None = None,
        input: Any = None,
        title: str | None = None,
    ) -> Awaits[None]: ...
    @tracked
    def compensate(
        self, target: Any, /, *args: Any, title: str | None = None, **arguments: Any
    ) -> Awaits[None]:
        """Register a run that undoes this one's work, once: `await ctx.compensate(refund, charge=charge)`.

        If this run fails or is cancelled, for any reason, the server creates the registered runs in the same
        transaction. They run one after the other, the last registered first. If this run completes, they are dropped.
        `refund` is a function with a decorator of the app, or a string target of `task:…` or `workflow:…` with `config`
        and `input`, as for `spawn`. A run has at most 100. Raise ValueError for another target, TypeError for arguments
        that do not fit.
        """
        return self._attempt.compensate(run_request(target, args, arguments), title)

    @tracked
    def steps_to_undo(self) -> Awaits[list[tuple[str, Any]]]:
        """In a compensation: return (name, result) of each step that the compensated run has finished, in order.

        `dict(await ctx.steps_to_undo())` is the last result of each name. Raise ValueError where the run compensates
        none.
        """
        return self._attempt.steps_to_undo()

    # Values that are the same in every try

    def now(self) -> datetime:
        """Return the time in UTC, the same in every try."""
        return self._attempt.now()

    def patched(self, patch: str) -> bool:
        """Return whether the run takes the new code of a change: `if ctx.patched("fraud-check"): …`.

        True for a run that reaches this call before any later step is in its log, and from then on, in every try. False
        for a run whose log has a later step: code without the call wrote it. The first answer for a name
        holds in the rest of the handler; concurrent branches have their own. A call is no step.
        """
        return self._attempt.patched(patch)

    def random(self) -> float:
        """Return a random number from 0 to below 1, the same in every try. Do not use it for secrets."""
        return self._attempt.random()

    def uuid(self) -> UUID:
        """Return a UUID of this run and this step, the same in every try."""
        return self._attempt.uuid()

    # Events

    @tracked
    def emit(self, event: Mapping[str, Any]) -> Awaits[None]:
        """Append one event: an object with a string `type`, in AG-UI form. Raise LeaseLostError.

        It is sent after 50 ms, or with 24 events or 512 KiB. A handler that runs again emits it again: at the same
        position and with the same members it is stored once. This waits only while more than 4 MiB are queued.
        """
        return self._attempt.emit(event)

    @tracked
    def emit_many(self, events: Iterable[Mapping[str, Any]]) -> Awaits[None]:
        """Append events in order, in few requests. They are durable when this returns. Raise LeaseLostError.

        Each event is stored once, also across broken connections and restarts of the server. Each request is one
        transaction.
        """
        return self._attempt.emit_many(events)

    @tracked
    def flush(self) -> Awaits[None]:
        """Wait until all events are durable. Raise LeaseLostError, or the server's refusal of an event."""
        return self._attempt.flush()

    @tracked
    def progress(self, fraction: float | None = None, message: str | None = None) -> Awaits[None]:
        """Show how far the run is: `await ctx.progress(0.4, "parsing")`, with a fraction from 0 to 1.

        The run shows the last one in every answer, in lists and in the dashboard. A fraction outside of 0 to 1 becomes
        0 or 1, and a message is cut to 512 characters. A replay emits nothing of the parts that it only passes. It is
        sent as `emit` sends an event.
        """
        return self._attempt.progress(fraction, message)

    @tracked
    def set(self, name: str, value: Any) -> Awaits[None]:
        """Store a named value of the run (any JSON up to 16 KiB), which `client.value` reads at any time:
        `await ctx.set("stage", "parsing")`.

        It replaces the value of the same name, is durable when this returns, and stays after the run's end. A replay
        sets nothing in the parts that it only passes, so a value never goes back. A name has 1 to 128 characters, and
        a run at most 64 values. Raise ValueError beyond these bounds, TypeError for a value that is not JSON, and
        LeaseLostError.
        """
        return self._attempt.set(name, value)

    # Messages

    @tracked
    def text(self, whole: str | None = None, *, role: Role = "assistant") -> Message:
        """Emit a message: whole with `await ctx.text("Hello")`, or in parts with
        `async with ctx.text() as message: await message.write("Hel")`.
        """
        return self._attempt.text(whole, role=role)

    @tracked
    def reasoning(self, whole: str | None = None) -> Message:
        """Emit reasoning of the model, as `text` emits a message."""
        return self._attempt.reasoning(whole)

    @tracked
    def tool_call(self, name: str, arguments: Any = None, *, result: Any = msgspec.UNSET) -> ToolCall:
        """Emit a tool call and its result (any JSON): `await ctx.tool_call("search", {"q": "x"}, result=found)`, or
        `async with ctx.tool_call("search", {"q": "x"}) as call: call.result = await search("x")`.

        Without `arguments`, `await call.write(…)` emits their JSON in parts.
        """
        return self._attempt.tool_call(name, arguments, result=result)

    def usage(
        self,
        provider: str,
        model: str,
        *,
        input_tokens: int = 0,
        output_tokens: int = 0,
        cached_input_tokens: int = 0,
        reasoning_tokens: int = 0,
        finish_reason: str | None = None,
        provider_request_id: str | None = None,
        partial: bool = False,
    ) -> None:
        """Record the tokens that one call of a model used. The sums become the run's metadata.

        The record is stored in the log, once across tries. `partial`: the provider did not report all of them. Raise
        ValueError for a count below 0.
        """
        counts = {
            "inputTokens": input_tokens,
            "outputTokens": output_tokens,
            "cachedInputTokens": cached_input_tokens,
            "reasoningTokens": reasoning_tokens,
        }
        more = {"partial": partial, "finishReason": finish_reason, "providerRequestId": provider_request_id}
        self._attempt.usage(provider, model, counts, more)

    # Artifacts

    @tracked
    def artifact(
        self,
        /,
        source: Source,
        name: str | None = None,
        media_type: str | None = None,
        *,
        size: int | None = None,
        uri: str | None = None,
        sha256: str | None = None,
        **more: Any,
    ) -> Awaitable[StoredArtifact | None]:
        """Store bytes or a file with the run, or record an artifact that is stored elsewhere.

        `await ctx.artifact(b"…", name="report.csv")` stores bytes. With a path in place of the bytes it stores the
        file. The same bytes under the same name change nothing; other bytes replace them. Without `media_type` the
        type is guessed from the name.

        `ctx.artifact("report.csv", uri="…", size=…)` records an artifact that is stored elsewhere; `size` is in bytes.
        The record is sent with the completion, so there is nothing to await.
        """
        facts = {"size": size, "uri": uri, "sha256": sha256, **more}
        return self._attempt.artifact(source, name, media_type, facts)
