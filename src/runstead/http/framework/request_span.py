"""The trace context and the span of a request."""

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.responses import Response

from runstead.core import trace_context
from runstead.http.framework.problems import redacted
from runstead.ports import tracing


def continue_trace(headers: dict[bytes, bytes]) -> None:
    """Note the caller's trace context, which a run that the request creates keeps. A malformed one is ignored."""
    traceparent = _text(headers, b"traceparent")
    if traceparent is not None:
        trace_context.current.set(trace_context.parse(traceparent, _text(headers, b"tracestate")))


async def in_span(answer: Callable[[Any], Awaitable[Any]], route: str, request: Any) -> Any:
    """Answer a request in a span that continues the caller's trace."""
    continue_trace(request.headers)
    known = {"http.request.method": request.method, "http.route": route, "url.path": redacted(request.path)}
    with tracing.request_span(f"{request.method} {route}", known) as span:
        if span.is_recording():
            span.set_attributes(_attributes(request))
        answered = await answer(request)
        status = answered.status_code if isinstance(answered, Response) else answered.status
        span.set_attribute("http.response.status_code", status)
        if status >= 500:
            tracing.fail(span, str(status))
        return answered


def _attributes(request: Any) -> dict[str, Any]:
    """The other attributes of a request's span: https://opentelemetry.io/docs/specs/semconv/http/http-spans/#http-server"""
    attributes = {
        "url.scheme": request.scheme,
        "client.address": request.origin.address,
        "server.address": _text(request.headers, b"host"),
        "user_agent.original": _text(request.headers, b"user-agent"),
        "runstead.request_id": request.origin.request_id,
    }
    return {name: value for name, value in attributes.items() if value is not None}


def _text(headers: dict[bytes, bytes], name: bytes) -> str | None:
    value = headers.get(name)
    return None if value is None else value.decode("latin-1")
