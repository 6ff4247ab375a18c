"""Tasks: what the decorators of an app return, how their runs are created, and handlers without a context."""

import functools
import inspect
import warnings
from dataclasses import dataclass

import pytest

from runstead.sdk import App, Context, RunDiffersWarning, RunsteadError
from runstead.sdk.models.lease import ClaimedRun
from runstead.testing import BlockingTestbed, Testbed

app = App()


@dataclass
class Line:
    sku: str
    count: int = 1


@app.task("book")
async def book(line: Line, copies: int = 1) -> Line:
    return Line(line.sku, line.count * copies)


@app.workflow("check")
def check(config: dict, input: list, strict: bool = False) -> list:  # noqa: A002 - the whole input
    return [config, input, strict]


@app.task("invoice")
async def invoice(ctx: Context, sku: str) -> list:
    child = await ctx.spawn(book, line=Line(sku, 2), copies=3, title="Book")
    checked = await ctx.spawn(check, config={"a": 1}, input=[1], strict=True)
    other = await ctx.spawn("task:book", config={"line": {"sku": "b"}}, input={"copies": 2})
    assert (await child.wait()).title == "Book"
    return [await child.result(), await checked.result(), await other.result(), await other.result(Line)]


async def test_a_task_is_spawned_with_its_arguments_and_returns_its_type():
    async with Testbed(app) as bed:
        run = await bed.result(await bed.run("task:invoice", input={"sku": "a"}))
    assert run.output == [
        {"sku": "a", "count": 6},
        [{"a": 1, "strict": True}, [1], True],
        {"sku": "b", "count": 2},
        {"sku": "b", "count": 2},
    ], run.error


async def test_a_client_starts_a_task_and_returns_its_type():
    async with Testbed(app) as bed:
        run = await bed.client.start(book, line=Line("a"), copies=2, id="book-1", labels={"team": "b"})
        await bed.settle()
        assert await run.result() == Line("a", 2)
        assert (run.id, (await run.get()).labels) == ("book-1", {"team": "b"})
        assert (await bed.run(check, config={}, input=[], strict=True)).output == [{"strict": True}, [], True]


def test_a_blocking_client_starts_a_task_and_returns_its_type():
    with BlockingTestbed(app) as bed:
        run = bed.client.start(book, line=Line("a"))
        bed.settle()
        assert run.result() == Line("a")
        assert bed.run(book, line=Line("b", 3)).output == {"sku": "b", "count": 3}
        with pytest.raises(TypeError, match="one target"):
            bed.client.start(lambda line: line, line=Line("a"))


def test_a_task_is_called_as_its_function():
    assert check({}, [1], strict=True) == [{}, [1], True]
    assert (check.target, check.__name__, repr(check)) == ("workflow:check", "check", "<workflow:check>")
    assert list(inspect.signature(check).parameters) == ["config", "input", "strict"]
    called = book(Line("a"))
    assert inspect.iscoroutine(called)
    called.close()


def test_a_function_serves_two_targets():
    twice = App()
    inner = twice.task("one")(check.function)
    outer = twice.workflow("two")(inner)
    assert twice.targets == ["task:one", "workflow:two"]
    assert (inner.target, outer.target, outer.function) == ("task:one", "workflow:two", check.function)


@app.task("of-run")
async def of_run(ctx, run: ClaimedRun) -> str:
    return run.run_id


@pytest.mark.parametrize(
    ("task", "args", "arguments", "why"),
    [
        (book, (Line("a"),), {}, "by name"),
        (book, (), {"lines": Line("a")}, "line"),
        (book, (), {}, "line"),
        (of_run, (), {"run": 1}, "takes the run itself"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_before_a_run_is_created(task, args, arguments, why):
    with pytest.raises(TypeError, match=why):
        task.request(args, arguments)


async def test_a_context_gets_no_other_parameter_than_the_first():
    with pytest.raises(TypeError, match="the context first"):
        App().task("t")(lambda rows, ctx: (rows, ctx))


async def test_a_start_with_the_id_of_another_run_warns_raises_or_does_neither():
    async with Testbed(app) as bed:
        start = functools.partial(bed.client.start, book, id="book-1")
        await start(line=Line("a"))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            await start(line=Line("a"))
            await start(line=Line("b"), if_differs="ignore")
        assert caught == []
        with pytest.warns(RunDiffersWarning, match="book-1 exists with another input") as warned:
            assert (await start(line=Line("b"))).id == "book-1"
        assert warned[0].filename == __file__
        with pytest.raises(RunsteadError, match="another config and input") as refused:
            await bed.client.runs.create("task:book", id="book-1", config={}, input={}, if_differs="raise")
        assert (refused.value.status, refused.value.code) == (409, "RUN_ID_CONFLICT")
        with pytest.raises(ValueError, match="if_differs is warn, raise, ignore"):
            await start(line=Line("b"), if_differs="never")
