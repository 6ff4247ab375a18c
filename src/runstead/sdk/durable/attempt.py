"""One attempt of a run in a worker: what `Context` does, and what the worker needs."""

from runstead.sdk.durable.message_stream import MessageStream


class Attempt(MessageStream):
    """One attempt of a run. Handlers see it through a `Context` or a `ThreadContext`.

    Its parts are classes that build on each other: `Emitter` (events, logs, artifacts), `StepRunner` and `Races` (steps
    and concurrent branches), `Waits` (waits, child runs, repeatable values), `Forms` (questions with forms),
    `Compensations`, `Reports` (progress and values) and `MessageStream` (messages, tool calls, usage).
    """
