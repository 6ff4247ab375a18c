"""The page of event types has those of the server, and what a handler of the SDK writes."""

import sys
from contextlib import suppress
from datetime import UTC, datetime

import pytest

from runstead import App, Step, StepFailed, WaitTimeout
from runstead.core.runs import event
from runstead.core.runs.event_types import EVENT_TYPES
from runstead.testing import BlockingTestbed

from .pages import table, text, ticked

PAGE = "docs/events.md"


def shown(member):
    kind = "" if member.type == "string" else f": {member.type}"
    return f"{member.name}{'' if member.required else '?'}{kind}"


def test_the_page_lists_every_type_with_its_class_and_members():
    documented = {ticked(row[0])[0]: (row[1], ticked(row[2])) for row in table(PAGE, "type")}
    assert documented == {
        one.type: (one.event_class, [shown(member) for member in one.members]) for one in EVENT_TYPES
    }


def test_the_page_names_private_types_and_those_of_the_server_alone():
    assert all(f"`{one}` is private" in text(PAGE) for one in event.PRIVATE_TYPES)
    alone = {ticked(row[0])[0] for row in table(PAGE, "type") if "server only" in row[3]}
    assert alone == event.TERMINAL_TYPES == {one.type for one in EVENT_TYPES if not one.appendable}


@pytest.fixture(scope="module")
def log():
    """The events of runs that do all that a handler can do."""
    app = App()
    app.command("task:print", [sys.executable, "-c", "print('hello')"])
    tries = []

    async def busy():
        tries.append(None)
        if len(tries) < 3:
            raise LookupError("busy")
        return 1

    @app.task("child")
    async def child(ctx):
        return 1

    @app.task("all", retries=2)
    async def everything(ctx):
        ctx.now()
        ctx.patched("a-change")
        await ctx.progress(0.5, "half")
        await ctx.set("rows", 3)
        ctx.log("a line")
        ctx.usage("example", "small", input_tokens=1, finish_reason="stop", provider_request_id="r")
        await ctx.artifact(b"a", name="a.txt")
        await ctx.step("busy", busy, options=Step(retries=1))
        await (await ctx.spawn(child)).result()
        with suppress(StepFailed):
            await ctx.gather(ctx.step("fails", broken), ctx.step("works", lambda: 1))
        await ctx.first(
            paid=ctx.wait_for_event("paid", match={"sum": 1}), shipped=ctx.wait_for_event("shipped")
        )
        with suppress(WaitTimeout):
            await ctx.wait_for_approval("Go on?", timeout_seconds=60)
        await ctx.sleep(5)

    async def broken():
        raise ValueError("broken")

    @app.task("fails")
    async def fails(ctx):
        try:
            await ctx.step("broken", broken)
        finally:
            await ctx.step("tidy", lambda: 1)

    changed = App()

    @changed.task("all")
    async def other(ctx):
        await ctx.step("first", lambda: 1)

    with BlockingTestbed(app) as bed:
        run, printed = bed.run("task:all"), bed.run("task:print")
        failed = bed.run("task:fails")
        retried = bed.retry(failed, "failed")
        bed.publish("paid", {"sum": 1}, occurred_at=datetime(2026, 1, 1, tzinfo=UTC))
        bed.advance(seconds=60)
        bed.deploy(changed)
        bed.advance(seconds=5)
        return [event for one in (run, printed, failed, retried) for event in bed.events(one)]


def test_the_page_lists_every_custom_event_with_its_source_and_members(log):
    written = {}
    for one in log:
        if one.event_type == "CUSTOM":
            value = set(one.payload["value"])
            source, always, ever = written.get(one.payload["name"], (one.source, value, value))
            written[one.payload["name"]] = (source, always & value, ever | value)
    rows = {ticked(row[0])[0]: (row[1], ticked(row[2])) for row in table(PAGE, "name")}
    assert rows.keys() == written.keys()
    for name, (source, members) in rows.items():
        always = {member for member in members if not member.endswith("?")}
        assert (source, {member.rstrip("?") for member in members}) == (written[name][0], written[name][2]), (
            name
        )
        assert always <= written[name][1], name


def test_the_page_lists_every_member_of_a_step(log):
    written = {
        (one.event_type, member)
        for one in log
        if one.event_type in event.STEP_TYPES
        for member in one.payload.keys() - {"type", "stepName"}
    }
    written.add(("STEP_STARTED", "traceparent"))  # of a traced worker: tests/e2e/test_tracing.py
    assert {(ticked(row[0])[0], ticked(row[1])[0]) for row in table(PAGE, "event")} == written
