"""One trace from a web application through the server and the worker, as a receiver of OTLP gets it."""

import asyncio
import itertools
import subprocess
import textwrap
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import SpanKind

from runstead.sdk import AsyncClient
from tests.support.otlp_receiver import OtlpReceiver
from tests.support.server import KEY, PROGRAM, Server, environment

APP = textwrap.dedent(
    """
    import os
    import sys

    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    from runstead.sdk import App, Context

    app = App()

    if sys.modules["__main__"].__spec__.name.endswith("isolation.child"):
        provider = TracerProvider(resource=Resource.create({"service.name": "isolated"}))
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        trace.set_tracer_provider(provider)


    @app.task("isolated", isolation="process")
    async def isolated(ctx: Context) -> None:
        await ctx.step("work", str.upper, "done")


    @app.task("order")
    async def order(ctx: Context) -> str:
        for name in ("reserve", "charge", "ship"):
            await ctx.step(name, str.upper, name)
        return "shipped"


    async def approved(ctx: Context) -> bool:
        await ctx.step("prepare", str.upper, "x")
        answer = await ctx.wait_for_approval("Ship it?")
        await ctx.step("ship", str.upper, "x")
        return answer


    app.task("approved")(approved)
    app.task("scheduled")(approved)


    @app.task("parent")
    async def parent(ctx: Context) -> str:
        child = await ctx.spawn("task:child")
        return await child.result(str)


    @app.task("child")
    async def child(ctx: Context) -> str:
        return await ctx.step("work", str.upper, "done")


    @app.task("crash")
    async def crash(ctx: Context) -> int:
        def work() -> int:
            if ctx.run.attempt == 1:
                os._exit(1)
            return ctx.run.attempt

        return await ctx.step("charge", work)


    @app.task("ask")
    async def ask(ctx: Context) -> None:
        async def call() -> None:
            await ctx.text("It is sunny")
            ctx.usage("openai", "gpt-5", input_tokens=12, output_tokens=3, cached_input_tokens=8, finish_reason="stop")

        await ctx.step("answer", call)
    """
)


class Traced:
    """A server and its workers that send their traces to a receiver, and a web application that creates runs."""

    def __init__(self, folder, receiver):
        self.folder, self.receiver = folder, receiver
        self.settings = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
            "OTEL_BSP_SCHEDULE_DELAY": "20",
            "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "true",
        }
        (folder / "orders.py").write_text(APP)
        self.server = Server(folder, folder / "runstead.db", **self.settings).start()
        self.workers = []
        self.provider = TracerProvider(resource=Resource.create({"service.name": "shop"}))
        exporter = OTLPSpanExporter(f"{receiver.url}/v1/traces")
        self.provider.add_span_processor(SimpleSpanProcessor(exporter))

    def client(self):
        return AsyncClient(self.server.url, KEY, project="default")

    def start_worker(self):
        with (self.folder / "worker.log").open("a") as log:
            command = [*PROGRAM, "worker", "orders:app", "--url", self.server.url, "--key", KEY]
            variables = environment(**self.settings) | {"PYTHONPATH": str(Path.cwd())}
            self.workers.append(
                subprocess.Popen(command, cwd=self.folder, env=variables, stdout=log, stderr=log)
            )
        return self.workers[-1]

    async def create(self, target):
        """Call the web application, which creates a run in the span of its request: (run id, span)."""
        web, tracer = FastAPI(), self.provider.get_tracer("shop")

        @web.post("/orders")
        async def place_order():
            with tracer.start_as_current_span("POST /orders", kind=SpanKind.SERVER):
                async with self.client() as client:
                    created = await client.runs.create(target)
            return {"run_id": created.run.run_id}

        before = len([span for span in self.receiver.spans if span.name == "POST /orders"])
        transport = httpx2.ASGITransport(web)
        async with httpx2.AsyncClient(transport=transport, base_url="http://shop") as caller:
            run_id = (await caller.post("/orders")).json()["run_id"]
        return run_id, self.receiver.wait_for("POST /orders", count=before + 1)[-1]

    def close(self):
        for worker in self.workers:
            worker.kill()
            worker.wait()
        self.server.kill()
        self.provider.shutdown()


@pytest.fixture(scope="module")
def receiver():
    with OtlpReceiver() as made:
        yield made


@pytest.fixture(scope="module")
def traced(tmp_path_factory, receiver):
    made = Traced(tmp_path_factory.mktemp("traced"), receiver)
    made.start_worker()
    yield made
    made.close()


def only(receiver, name, trace_id, **more):
    """The only span of this name in the trace."""
    (span,) = receiver.wait_for(name, trace_id, **more)
    return span


async def test_a_trace_leads_from_the_caller_through_create_claim_steps_and_completion(traced, receiver):
    run_id, caller = await traced.create("task:order")
    trace_id = caller.trace_id

    attempt = only(receiver, "run task:order", trace_id)
    complete = only(receiver, "POST /runs/{run_id}/complete", trace_id)
    create = only(receiver, "POST /runs", trace_id)
    command = only(receiver, "runs.create", trace_id)
    assert (create.service, create.kind, create.parent_id) == ("runstead", "SERVER", caller.span_id)
    assert command.parent_id == create.span_id
    assert create.attributes["http.request.method"] == "POST"
    assert create.attributes["http.route"] == "/runs"
    assert create.attributes["http.response.status_code"] == 202
    assert create.attributes["url.path"] == "/runs"
    assert create.attributes["url.scheme"] == "http"

    commits = receiver.wait_for("commit", trace_id)
    assert command.span_id in {span.parent_id for span in commits}
    assert all(span.attributes["db.system.name"] == "sqlite" for span in commits)
    assert all(span.attributes["db.operation.batch.size"] >= 1 for span in commits)

    assert (attempt.service, attempt.kind) == ("runstead-worker", "CONSUMER")
    assert (attempt.parent_id, attempt.links) == (create.span_id, ())
    assert attempt.attributes["runstead.run.id"] == run_id
    assert attempt.attributes["runstead.run.attempt"] == 1
    assert attempt.attributes["runstead.attempt.outcome"] == "completed"
    steps = [only(receiver, f"step {name}", trace_id) for name in ("reserve", "charge", "ship")]
    assert {span.parent_id for span in steps} == {attempt.span_id}
    assert [span.attributes["runstead.step.id"] for span in steps] == ["1", "2", "3"]
    assert all(a.end_ns <= b.start_ns for a, b in itertools.pairwise(steps))
    assert complete.parent_id == attempt.span_id

    # A claim hands out runs of many traces. It is linked to each.
    claims = receiver.wait_for("workers.claim")
    assert ((trace_id, create.span_id),) in [span.links for span in claims]


async def test_a_wait_is_a_link_to_the_next_attempt_in_the_same_trace(traced, receiver):
    run_id, caller = await traced.create("task:approved")
    wait = only(receiver, "wait approval", caller.trace_id)
    first = only(receiver, "run task:approved", caller.trace_id)
    assert first.attributes["runstead.attempt.outcome"] == "waiting"

    async with traced.client() as client:
        await client.runs.resume(run_id, True, type="approval")
    first, second = receiver.wait_for("run task:approved", caller.trace_id, count=2)
    assert wait.parent_id == first.span_id
    assert second.links == ((caller.trace_id, wait.span_id),)
    assert second.parent_id == first.parent_id  # of the creation
    assert first.end_ns <= second.start_ns
    (ship,) = receiver.wait_for("step ship", caller.trace_id)
    assert ship.parent_id == second.span_id
    assert len(receiver.wait_for("step prepare", caller.trace_id)) == 1  # a stored result is no step


async def test_a_child_is_in_the_trace_of_its_parent(traced, receiver):
    _, caller = await traced.create("task:parent")
    child = only(receiver, "run task:child", caller.trace_id)
    spawn = only(receiver, "spawn task:child", caller.trace_id)
    creates = {span.span_id: span for span in receiver.wait_for("POST /runs", caller.trace_id, count=2)}
    assert (spawn.kind, creates[child.parent_id].parent_id) == ("PRODUCER", spawn.span_id)
    assert len(receiver.wait_for("run task:parent", caller.trace_id, count=2)) == 2


async def test_usage_has_the_attributes_of_generative_ai_and_content_only_on_request(traced, receiver):
    _, caller = await traced.create("task:ask")
    chat = only(receiver, "chat gpt-5", caller.trace_id)
    step = only(receiver, "step answer", caller.trace_id)
    assert (chat.parent_id, chat.kind) == (step.span_id, "CLIENT")
    assert chat.attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-5",
        "gen_ai.usage.input_tokens": 12,
        "gen_ai.usage.output_tokens": 3,
        "gen_ai.usage.cache_read.input_tokens": 8,
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.output.messages": '[{"role":"assistant","parts":[{"type":"text","content":"It is sunny"}],'
        '"finish_reason":"stop"}]',
    }


async def test_attempts_of_a_run_without_a_caller_are_in_one_trace(traced, receiver):
    """The server fires a schedule: no request creates the run, and the log alone has the trace of its first attempt."""
    async with traced.client() as client:
        target = {"kind": "task", "id": "scheduled"}
        await client.schedules.create("once", target, run_at=datetime.now(UTC) + timedelta(seconds=1))
        (first,) = await asyncio.to_thread(receiver.wait_for, "run task:scheduled")
        await client.runs.resume(first.attributes["runstead.run.id"], True, type="approval")
    first, second = receiver.wait_for("run task:scheduled", first.trace_id, count=2)
    (wait,) = receiver.wait_for("wait approval", first.trace_id)
    assert first.parent_id == ""
    assert (second.parent_id, second.links) == (wait.span_id, ((first.trace_id, wait.span_id),))


async def test_a_handler_in_its_own_process_continues_the_trace(traced, receiver):
    _, caller = await traced.create("task:isolated")
    step = only(receiver, "step work", caller.trace_id)
    attempt = only(receiver, "run task:isolated", caller.trace_id)
    assert (step.service, attempt.service) == ("isolated", "runstead-worker")
    assert step.parent_id == attempt.span_id
    events = receiver.wait_for("POST /runs/{run_id}/events", caller.trace_id)
    assert {span.parent_id for span in events} <= {attempt.span_id, step.span_id}


async def test_the_attempt_after_a_crash_is_linked_to_the_interrupted_step(traced, receiver):
    run_id, caller = await traced.create("task:crash")
    assert traced.workers[0].wait(timeout=60) == 1
    async with traced.client() as client:
        (worker,) = (await client.workers.list()).data
        await client.workers.remove(worker.id)  # ends its attempt at once
        page = await client.events.list(run_id)

    traced.start_worker()
    attempt = only(receiver, "run task:crash", caller.trace_id)
    assert attempt.attributes["runstead.run.attempt"] == 2
    ((trace_id, span_id),) = attempt.links
    assert trace_id == caller.trace_id
    assert page.data[0].payload["traceparent"].startswith(f"00-{trace_id}-{span_id}-")
