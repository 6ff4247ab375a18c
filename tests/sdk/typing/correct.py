"""Correct calls: the checkers find no error in them, and know each type."""

from typing import Any, assert_type

from runstead import AsyncClient, Client, Context, Step, ThreadContext

from .handlers import Line, Receipt, app, book, check, fetch, print_receipt, total


@app.task("invoice", retries=3)
async def invoice(ctx: Context, invoice_id: str) -> float:
    lines = assert_type(await ctx.step("fetch", fetch, invoice_id), list[Line])
    assert_type(await ctx.step("fetch", fetch, invoice_id, page=2), list[Line])
    assert_type(await ctx.step(fetch, invoice_id, 2, options=Step(retries=3, timeout=30)), list[Line])
    assert_type(await ctx.step("total", total, lines, currency="EUR"), float)
    assert_type(
        await ctx.step("total", total, lines=lines, currency="EUR", options=Step(raises=KeyError)), float
    )
    assert_type(await ctx.step(total, Step(backoff=0.5), lines, currency="EUR"), float)
    assert_type(await ctx.step("count", lambda: len(lines), options=Step(retries=1)), int)

    assert_type(await ctx.gather(ctx.step(fetch, "a"), ctx.sleep(1)), tuple[list[Line], None])
    one, two, three, four, five = await ctx.gather(
        ctx.step("a", len, "a"),
        ctx.wait_for_approval("Go on?"),
        ctx.step("b", str, 1),
        ctx.sleep(1),
        ctx.step(fetch, "b"),
    )
    assert_type((one, two, three, four, five), tuple[int, bool, str, None, list[Line]])
    assert_type(await ctx.gather(*[ctx.step(f"fetch {n}", fetch, n) for n in "abc"]), list[list[Line]])

    first = await ctx.first(approved=ctx.wait_for_approval("Pay?", timeout_seconds=600), late=ctx.sleep(600))
    assert_type(first.value, bool | None)
    assert_type(first.name, str)

    child = await ctx.spawn(book, line=lines[0], title="Book")
    assert_type(await child.result(), Receipt)
    assert_type(await (await ctx.spawn(print_receipt, receipt=Receipt("1"))).result(), int)
    assert_type(await (await ctx.spawn(check, invoice_id=invoice_id)).result(), bool)
    other = await ctx.spawn("task:elsewhere", input={"line": 1})
    assert_type(await other.result(), Any)
    assert_type(await other.result(Receipt), Receipt)
    assert_type(book.target, str)
    return await ctx.step("total", total, lines, currency="EUR")


@app.task("report")
def report(ctx: ThreadContext, invoice_id: str) -> int:
    lines = assert_type(ctx.step("fetch", fetch, invoice_id, options=Step(retries=1)), list[Line])
    assert_type(ctx.step(total, lines, currency="EUR"), float)
    assert_type(ctx.gather(lambda: ctx.step(fetch, "a"), lambda: ctx.sleep(1)), tuple[list[Line], None])
    assert_type(
        ctx.first(yes=lambda: ctx.wait_for_approval("Pay?"), no=lambda: ctx.sleep(9)).value, bool | None
    )
    assert_type(ctx.wait_for_approval("Pay?", timeout_seconds=60), bool)
    assert_type(ctx.spawn(book, line=lines[0]).result(), Receipt)
    with ctx.text() as message:
        message.write("Done")
    return len(lines)


async def start(client: AsyncClient, blocking: Client) -> None:
    run = await client.start(book, line=Line("a"), id="book-1", title="Book")
    assert_type(await run.result(), Receipt)
    assert_type(await (await client.start(check, invoice_id="a")).result(timeout=5), bool)
    assert_type(await (await client.start("task:elsewhere", input=[1], id="a")).result(), Any)
    assert_type(await (await client.start("task:elsewhere", returns=Receipt)).result(), Receipt)
    assert_type(blocking.start(print_receipt, receipt=Receipt("1")).result(), int)


async def test_a_handler_is_called_as_the_function_that_it_is(ctx: Context, thread: ThreadContext) -> None:
    assert_type(await book(ctx, Line("a"), copies=2), Receipt)
    assert_type(print_receipt(thread, Receipt("a")), int)
    assert_type(check("a"), bool)
