"""Spans of the server: requests, commands and commit groups (OpenTelemetry, semantic conventions 1.36 for HTTP).

`tracer` is None while the server exports no traces. Callers test it first, so nothing else here runs then, and
OpenTelemetry is not even imported.
"""

# ruff: noqa: PLC0415 - OpenTelemetry is imported where it is used: it takes longer than the rest of a start
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from runstead.core import trace_context

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, SpanContext, Tracer

tracer: "Tracer | None" = None


def request_span(name: str, attributes: Mapping[str, Any]) -> AbstractContextManager["Span"]:
    """Start the span of a request, below the caller's span. Runs that the request creates continue its trace.

    `attributes` are those that a sampler may decide by. Add others if the span is recording.
    """
    from opentelemetry import trace

    assert tracer is not None
    caller = trace_context.current.get()
    parent = None if caller is None else _context_of(caller)
    span = tracer.start_span(name, parent, kind=trace.SpanKind.SERVER, attributes=attributes)
    context = span.get_span_context()
    own = f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
    trace_context.current.set(f"{own} {context.trace_state.to_header()}".strip())
    # An exception that leaves the request is no error of the server: the caller has disconnected.
    return trace.use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False)


def fail(span: "Span", error_type: str) -> None:
    """Mark a span as failed."""
    from opentelemetry.trace import StatusCode

    span.set_attribute("error.type", error_type)
    span.set_status(StatusCode.ERROR)


async def command(name: str, handler: Callable[[Any], Awaitable[Any]], call: Any) -> Any:
    """Run the command of a request in a span, if its request is sampled."""
    from opentelemetry.trace import get_current_span

    assert tracer is not None
    if not get_current_span().is_recording():
        return await handler(call)
    # A refusal is an answer, and no error of the server.
    with tracer.start_as_current_span(name, record_exception=False, set_status_on_exception=False):
        return await handler(call)


def link(contexts: Iterable[str | None]) -> None:
    """Link the current span to the requests that created these runs: a claim hands out runs of many traces."""
    from opentelemetry.trace import get_current_span

    span = get_current_span()
    for context in contexts:
        if context is not None:
            span.add_link(get_current_span(_context_of(context)).get_span_context())


def _context_of(stored: str) -> "Context":
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    traceparent, tracestate = trace_context.split(stored)
    carrier = {"traceparent": traceparent or "", "tracestate": tracestate or ""}
    return TraceContextTextMapPropagator().extract(carrier)


def command_context() -> "SpanContext":
    """Return the context of the command that the current task runs."""
    from opentelemetry import trace

    return trace.get_current_span().get_span_context()


def commit_span(system: str, commands: Sequence["SpanContext | None"], began_ns: int) -> None:
    """Record a commit group that has ended. It is a child of its first command that is sampled, and linked to the others.

    Without one, as for the commands of loops, there is no span. `began_ns`: since 1970, by `time.time_ns`.
    """
    from opentelemetry import trace

    sampled = [one for one in commands if one is not None and one.is_valid and one.trace_flags.sampled]
    if tracer is None or not sampled:
        return
    parent = trace.set_span_in_context(trace.NonRecordingSpan(sampled[0]))
    tracer.start_span(
        "commit",
        parent,
        attributes={"db.system.name": system, "db.operation.batch.size": len(commands)},
        links=[trace.Link(one) for one in sampled[1:]],
        start_time=began_ns,
    ).end()


now_ns = time.time_ns
