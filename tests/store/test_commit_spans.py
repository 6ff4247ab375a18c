"""The spans of commit groups: below the first command of a group, and linked to its other commands."""

import asyncio

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, use_span

from runstead.ports import tracing
from tests.support.until import eventually


@pytest.fixture
def spans(monkeypatch):
    """spans(): the finished spans of commits."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(tracing, "tracer", provider.get_tracer("test"))
    return lambda: [span for span in exporter.get_finished_spans() if span.name == "commit"]


async def test_a_commit_is_below_its_first_command_and_linked_to_the_others(driver, spans):
    async def create():
        with tracing.tracer.start_as_current_span("command") as span:
            await driver.create()
        return span.get_span_context().span_id

    commands = await asyncio.gather(*(create() for _ in range(8)))
    await eventually(lambda: sum(1 + len(span.links) for span in spans()) == 8)
    linked = [link.context.span_id for span in spans() for link in span.links]
    assert sorted([*linked, *(span.parent.span_id for span in spans())]) == sorted(commands)
    assert sum(span.attributes["db.operation.batch.size"] for span in spans()) == 8
    assert {span.attributes["db.system.name"] for span in spans()} <= {"sqlite", "postgresql"}
    assert all(span.start_time < span.end_time for span in spans())
    assert any(linked)  # commands that arrive together share a commit


async def test_commits_of_loops_and_of_commands_that_are_not_sampled_have_no_span(driver, spans):
    await driver.create()
    with use_span(NonRecordingSpan(SpanContext(1, 2, is_remote=False, trace_flags=TraceFlags(0)))):
        await driver.create()
    with tracing.tracer.start_as_current_span("command"):
        await driver.create()
    await eventually(spans)
    assert len(spans()) == 1
