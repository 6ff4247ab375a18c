"""Mistakes of handlers: each one fails the run with a code and a sentence that names the place."""

import dataclasses
import logging
import sys
from pathlib import Path

import attrs
import msgspec
import pydantic
import pytest

from runstead.sdk import App, Step
from runstead.testing import BlockingTestbed, Testbed

HERE = __file__


def line_of(text):
    """Return the number of the first line of this file that contains the text."""
    with Path(HERE).open() as file:
        return next(number for number, line in enumerate(file, 1) if text in line)


async def end_of(handler, **options):
    """Run a handler to its end, and return the run."""
    app = App()
    app.task("t", **options)(handler)
    async with Testbed(app) as bed:
        run = await bed.run("task:t")
        while run.status == "waiting":
            await bed.advance(3600)
            run = await bed.get(run)
        return run


# A call of sys.exit


async def exits(ctx):
    sys.exit(3)


async def exits_in_a_step(ctx):
    await ctx.step("parse", sys.exit, 3)


async def exits_in_a_branch(ctx):
    await ctx.gather(exits(ctx), ctx.step("one", lambda: 1))


@pytest.mark.parametrize("handler", [exits, lambda: sys.exit(3), exits_in_a_step, exits_in_a_branch])
async def test_a_handler_that_calls_sys_exit_fails_its_run_and_not_the_worker(handler):
    error = (await end_of(handler)).error
    assert error.code == "SYSTEM_EXIT"
    assert "sys.exit(3) was called" in error.message


async def test_a_step_that_calls_sys_exit_is_retried():
    codes = [1, None]

    async def t(ctx):
        return await ctx.step(
            "convert", lambda: sys.exit(1) if codes.pop(0) else "done", options=Step(retries=1)
        )

    assert (await end_of(t)).output == "done"


# A forgotten await


async def test_a_step_that_is_not_awaited_fails_the_run_and_names_its_line():
    async def t(ctx):
        ctx.step("charge", lambda: 1)  # forgotten step
        return "done"

    error = (await end_of(t, retries=3)).error
    assert error.code == "STEP_NOT_AWAITED"
    at = f"{HERE}:{line_of('# forgotten step')}"
    assert error.message == f"`ctx.step` was called at {at} and never awaited: write `await ctx.step(…)`"


CALLS = {
    "sleep": lambda ctx: ctx.sleep(60),
    "wait_for_approval": lambda ctx: ctx.wait_for_approval("Write?"),
    "wait_for_event": lambda ctx: ctx.wait_for_event("paid"),
    "spawn": lambda ctx: ctx.spawn("task:t"),
    "emit": lambda ctx: ctx.emit({"type": "CUSTOM", "name": "x", "value": 1}),
    "progress": lambda ctx: ctx.progress(0.5),
    "text": lambda ctx: ctx.text("Hello"),
    "reasoning": lambda ctx: ctx.reasoning("Hm"),
    "tool_call": lambda ctx: ctx.tool_call("search", {"q": "x"}, result=1),
    "artifact": lambda ctx: ctx.artifact(b"a", name="a.txt"),
}


@pytest.mark.parametrize("name", CALLS)
async def test_every_call_of_the_context_that_is_not_awaited_is_found(name):
    async def t(ctx):
        return CALLS[name](ctx) and "done"

    error = (await end_of(t)).error
    assert (error.code, f"`ctx.{name}` was called at {HERE}" in error.message) == ("STEP_NOT_AWAITED", True)


async def test_a_gather_and_the_result_of_a_child_that_are_not_awaited_are_found():
    async def gathers(ctx):
        one = ctx.step("one", lambda: 1)
        ctx.gather(one)
        await one

    async def spawns(ctx):
        (await ctx.spawn("task:other")).result()

    assert "`ctx.gather` was called" in (await end_of(gathers)).error.message
    assert "`child.result` was called" in (await end_of(spawns)).error.message


async def test_a_call_that_is_created_before_a_wait_and_awaited_after_it_is_no_mistake():
    async def t(ctx):
        later = [ctx.step(f"step {number}", lambda: 1) for number in range(200)]
        await ctx.sleep(60)
        for one in later:
            await one
        return "done"

    assert (await end_of(t)).output == "done"


# Results


class Row(msgspec.Struct):
    size: int


@dataclasses.dataclass
class Table:
    rows: list[Row]


class Model(pydantic.BaseModel):
    size: int


@attrs.define
class Attrs:
    size: int


async def test_a_result_that_does_not_fit_its_annotation_fails_the_step_and_the_run_at_once():
    calls = []

    async def fetch() -> Table:
        calls.append(1)
        return Table([Row(1), Row("two")])

    async def t(ctx):
        await ctx.step("fetch", fetch, options=Step(retries=3))

    error = (await end_of(t, retries=3)).error
    assert (error.code, calls) == ("STEP_RESULT_INVALID", [1])
    assert error.message == (
        "The step 'fetch' failed: Its result does not fit its annotation Table:"
        " Expected `int`, got `str` - at `$.rows[1].size`"
    )


@pytest.mark.parametrize(
    "value",
    [Table([Row(1)]), Row(2), Model(size=3), Attrs(4), {"a": Row(5)}, (1, "x"), {1, 2}, None, b"x"],
    ids=str,
)
async def test_results_of_users_types_are_decoded_by_their_annotations(value):
    def fetch():
        return value

    shapes = {dict: dict[str, Row], tuple: tuple[int, str], set: set[int], type(None): None}
    fetch.__annotations__["return"] = shapes.get(type(value), type(value))
    seen = []

    async def t(ctx):
        seen.append(await ctx.step("fetch", fetch))
        await ctx.sleep(60)

    assert (await end_of(t)).status == "completed"
    assert seen == [value, value]


async def test_a_pydantic_result_names_the_member_that_does_not_fit():
    def fetch() -> Model:
        return Model.model_construct(size="many")

    async def t(ctx):
        await ctx.step("fetch", fetch)

    with pytest.warns(UserWarning, match="Expected `int`"):  # pydantic's own
        error = (await end_of(t)).error
    assert error.code == "STEP_RESULT_INVALID"
    assert "unable to parse string as an integer - at `.size` of Model" in error.message


async def test_a_stored_result_that_does_not_fit_the_annotation_of_newer_code_fails_the_run():
    annotations = [str, int]

    async def t(ctx):
        def fetch():
            return "text"

        fetch.__annotations__["return"] = annotations.pop(0)
        await ctx.step("fetch", fetch)
        await ctx.sleep(60)

    error = (await end_of(t)).error
    assert error.code == "STEP_RESULT_INVALID"


async def test_an_output_that_does_not_fit_the_handlers_annotation_fails_the_run():
    async def t(ctx) -> dict[str, int]:
        return {"rows": "many"}

    error = (await end_of(t)).error
    assert (error.code, error.message) == (
        "OUTPUT_INVALID",
        "The output does not fit the handler's annotation dict[str, int]: Expected `int`, got `str` - at `$[...]`",
    )


async def test_an_input_and_an_output_may_be_models_of_pydantic():
    async def t(ctx, input: Model | None = None) -> Model:  # noqa: A002
        return Model(size=7)

    assert (await end_of(t)).output == {"size": 7}


# Names


@pytest.fixture
def warnings(caplog):
    caplog.set_level(logging.WARNING, logger="runstead.sdk.durable")
    return lambda: [record.getMessage() for record in caplog.records if record.name == "runstead.sdk.durable"]


async def test_a_step_name_that_two_places_use_is_warned_of_once(warnings):
    async def t(ctx):
        await ctx.step("same", lambda: 1)  # first place
        await ctx.step("same", lambda: 2)  # second place
        await ctx.sleep(60)
        return 3

    assert [(await end_of(t)).output for _ in range(2)] == [3, 3]
    first, second = (f"{HERE}:{line_of(f'# {which} place')}" for which in ("first", "second"))
    [warning] = warnings()
    assert warning == (
        f"The step name 'same' is used at {first} and at {second}: give each step its own name, so that the log"
        " shows which one ran"
    )


async def test_a_step_in_a_loop_or_in_a_function_may_repeat_its_name(warnings):
    async def fetch(ctx):
        return await ctx.step("fetch", lambda: 1)

    async def t(ctx):
        for _ in range(3):
            await ctx.step("page", lambda: 1)
        await fetch(ctx)
        await fetch(ctx)
        return await ctx.gather(*[ctx.step("part", lambda: 1) for _ in range(3)])

    assert (await end_of(t)).output == [1, 1, 1]
    assert warnings() == []


def test_a_plain_function_is_warned_too_and_has_nothing_to_await(warnings):
    app = App()

    @app.task("t")
    def t(ctx):
        ctx.step("plain", lambda: 1)
        return ctx.step("plain", lambda: 2)

    with BlockingTestbed(app) as bed:
        assert bed.run("task:t").output == 2
    assert len(warnings()) == 1
