"""Spans of attempts, steps and waits, and the trace context of requests (OpenTelemetry).

Without a tracer provider nothing here runs but one test for each request and each attempt. A program that has one has
imported OpenTelemetry already; this module does not import it for others, because that takes longer than the SDK itself.
"""

# ruff: noqa: PLC0415

import os
import sys
from collections import defaultdict
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

import runstead
from runstead.sdk.models.lease import ClaimedRun

if TYPE_CHECKING:
    import asyncio

    from opentelemetry.context import Context
    from opentelemetry.trace import Span, Tracer

_CONTENT: Final = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
#: Members of a usage → the attributes of the semantic conventions for generative AI.
_USAGE: Final = {
    "provider": "gen_ai.provider.name",
    "model": "gen_ai.request.model",
    "inputTokens": "gen_ai.usage.input_tokens",
    "outputTokens": "gen_ai.usage.output_tokens",
    "cachedInputTokens": "gen_ai.usage.cache_read.input_tokens",
    "reasoningTokens": "gen_ai.usage.reasoning.output_tokens",
    "providerRequestId": "gen_ai.response.id",
}


def headers() -> dict[str, str]:
    """Return the headers that continue the current span's trace in the server. Empty: no span is current."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None or not trace.get_current_span().get_span_context().is_valid:
        return {}
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier


def _context_of(traceparent: str | None, tracestate: str | None = None) -> "Context":
    from opentelemetry.context import Context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier = {"traceparent": traceparent or "", "tracestate": tracestate or ""}
    return TraceContextTextMapPropagator().extract(carrier, Context())


def attempt_span(run: ClaimedRun) -> "AttemptSpan | None":
    """Return the span of an attempt, not started yet. None: the program has no tracer provider."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None or isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        return None
    return AttemptSpan(run, trace.get_tracer("runstead.sdk", runstead.__version__))


def continue_from(run: ClaimedRun) -> None:
    """Make the worker's span of the attempt the current one, in the process of a handler."""
    if "opentelemetry.trace" in sys.modules:
        from opentelemetry import context

        context.attach(_context_of(run.traceparent, run.tracestate))


class AttemptSpan:
    """The span of an attempt and those below it.

    It continues the trace of the request that created the run. A later attempt is a span of its own, since the run may
    have waited for a week, and is linked to the step or wait that the earlier one started last.
    """

    def __init__(self, run: ClaimedRun, tracer: "Tracer") -> None:
        self._run = run
        self._tracer = tracer
        self._span: Span | None = None
        captured = os.environ.get(_CONTENT, "").strip().lower()
        self._texts: defaultdict[int, list[str]] | None = (
            defaultdict(list) if captured in {"true", "span_only", "span_and_event"} else None
        )

    @property
    def needs_history(self) -> bool:
        """Whether only the run's log has the trace of earlier attempts: its creator sent no context."""
        return self._run.traceparent is None and self._run.latest_event_id > 0

    def begin(self, previous: str | None = None) -> None:
        """Start the span in the current task, unless it has started. `previous`: what the log has as the last context."""
        from opentelemetry import trace

        run = self._run
        before = trace.get_current_span(_context_of(previous)).get_span_context()
        if self._span is not None:
            if before.is_valid:
                self._span.add_link(before)
            return
        attributes: dict[str, str | int] = {
            "messaging.system": "runstead",
            "messaging.operation.type": "process",
            "messaging.operation.name": "run",
            "messaging.destination.name": run.target or run.kind,
            "messaging.message.id": run.run_id,
            "runstead.run.id": run.run_id,
            "runstead.run.kind": run.kind,
            "runstead.run.attempt": run.attempt,
        }
        if run.kind == "agent":
            attributes |= {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.id": run.agent_id or ""}
            attributes |= {"gen_ai.conversation.id": run.conversation_id or ""}
            if self._texts is not None:
                attributes["gen_ai.input.messages"] = _input_messages(run.request_snapshot)
        self._span = self._tracer.start_span(
            f"run {run.target or run.kind}",
            _context_of(run.traceparent or previous, run.tracestate),
            kind=trace.SpanKind.CONSUMER,
            attributes=attributes,
            links=[trace.Link(before)] if before.is_valid else None,
        )
        self.attach()

    def attach(self) -> None:
        """Make the span, if it has started, the current one of this task."""
        from opentelemetry import context, trace

        if self._span is not None:
            context.attach(trace.set_span_in_context(self._span))

    def end(self, handling: "asyncio.Future[Any]", *, waits: bool) -> None:
        """End the span with the outcome of the handler. `waits`: the run waits now, without a worker."""
        from opentelemetry.trace import StatusCode

        if self._span is None:
            return
        error = handling.exception() if handling.done() and not handling.cancelled() else None
        outcome = (
            "waiting" if waits else "stopped" if not handling.done() or handling.cancelled() else "completed"
        )
        if error is not None and not waits:
            outcome = "failed"
            self._span.record_exception(error)
            self._span.set_attribute("error.type", type(error).__name__)
            self._span.set_status(StatusCode.ERROR, str(error))
        self._span.set_attribute("runstead.attempt.outcome", outcome)
        self._span.end()

    def child(
        self, kind: Literal["step", "wait", "spawn"], name: str, step_id: str
    ) -> "AbstractContextManager[Span]":
        """Return the span of a step, of the start of a wait, or of the creation of a child."""
        from opentelemetry.trace import SpanKind

        return self._tracer.start_as_current_span(
            f"{kind} {name}",
            kind=SpanKind.PRODUCER if kind == "spawn" else SpanKind.INTERNAL,
            attributes={f"runstead.{kind}.name": name, "runstead.step.id": step_id},
        )

    def add_error(self, error: Exception) -> None:
        """Record the exception of a step that is tried again."""
        from opentelemetry.trace import get_current_span

        get_current_span().record_exception(error)

    def add_text(self, text: str) -> None:
        """Note a part of a message, where OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT asks for content."""
        if self._texts is not None:
            self._texts[_current_span_id()].append(text)

    def add_usage(self, usage: Mapping[str, Any]) -> None:
        """Record the tokens of one call of a model as a span. It has no duration: the call has ended already."""
        from opentelemetry.trace import SpanKind

        attributes = {attribute: usage[name] for name, attribute in _USAGE.items() if usage.get(name)}
        if (reason := usage.get("finishReason")) is not None:
            attributes["gen_ai.response.finish_reasons"] = [reason]
        if self._texts and (texts := self._texts.pop(_current_span_id(), None)):
            attributes["gen_ai.output.messages"] = _messages(
                [("assistant", "".join(texts))], reason or "stop"
            )
        self._tracer.start_span(
            f"chat {usage['model']}",
            kind=SpanKind.CLIENT,
            attributes={"gen_ai.operation.name": "chat", **attributes},
        ).end()


def _current_span_id() -> int:
    from opentelemetry.trace import get_current_span

    return get_current_span().get_span_context().span_id


def _input_messages(snapshot: Any) -> str:
    """Convert the messages of an agent's start payload, with a `content` or with parts of type text."""
    found = snapshot.get("messages") if isinstance(snapshot, dict) else None
    pairs = []
    for message in found if isinstance(found, list) else ():
        if isinstance(message, dict):
            content, parts = message.get("content"), message.get("parts") or []
            if not isinstance(content, str):
                content = "".join(str(part.get("text", "")) for part in parts if isinstance(part, dict))
            pairs.append((str(message.get("role", "user")), content))
    return _messages(pairs)


def _messages(pairs: list[tuple[str, str]], finish_reason: str | None = None) -> str:
    """The JSON of gen_ai.input.messages or gen_ai.output.messages."""
    more = {} if finish_reason is None else {"finish_reason": finish_reason}
    messages = [{"role": role, "parts": [{"type": "text", "content": text}], **more} for role, text in pairs]
    return msgspec.json.encode(messages).decode()
