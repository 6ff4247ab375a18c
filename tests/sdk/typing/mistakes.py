"""Mistakes, one in each line that ends with `# wrong`. The checkers find all of them, and nothing else."""

from runstead import AsyncClient, Client, Context, Step, ThreadContext

from .handlers import Line, Receipt, app, book, check, fetch, print_receipt, total, undecorated


@app.task("steps")
async def steps(ctx: Context, lines: list[Line]) -> None:
    await ctx.step("fetch", fetch, 7)  # wrong: the type of an argument
    await ctx.step(fetch, 7)  # wrong: the same without a name
    await ctx.step("fetch", fetch)  # wrong: an argument is missing
    await ctx.step("fetch", fetch, "a", 1, 2)  # wrong: one argument too many
    await ctx.step("total", total, lines, curency="EUR")  # wrong: a misspelt argument
    await ctx.step("fetch", fetch, "a", retries=3)  # wrong: an option among the arguments
    await ctx.step("fetch", fetch, 7, options=Step(retries=3))  # wrong: the type, beside options
    await ctx.step("total", total, lines=lines, currency=1, options=Step())  # wrong: the type, by name
    await ctx.step("fetch", fetch, "a", options=Step(timeout_seconds=30))  # wrong: an unknown option
    await ctx.step("fetch", fetch, "a", options=Step(retries="3"))  # wrong: the type of an option
    lines = await ctx.step("total", total, lines, currency="EUR")  # wrong: the type of the result
    lines = ctx.step("fetch", fetch, "a")  # wrong: no await


@app.task("waits")
async def waits(ctx: Context, receipt: Receipt) -> None:
    await ctx.sleep("60")  # wrong: the type of the seconds
    await ctx.wait_for_approval("Pay?", timeout=60)  # wrong: a misspelt argument
    receipt, _ = await ctx.gather(ctx.step(fetch, "a"), ctx.sleep(1))  # wrong: the type of a branch
    name: int = (await ctx.first(yes=ctx.wait_for_approval("Pay?"), no=ctx.sleep(1))).name  # wrong: the type
    await ctx.step("print", print, receipt, name)
    await ctx.flush_events()  # wrong: no member of the context


@app.workflow("children")
async def children(ctx: Context, line: Line) -> int:
    await ctx.spawn(book, line="a")  # wrong: the type of an argument
    await ctx.spawn(book, lines=line)  # wrong: a misspelt argument
    await ctx.spawn(book)  # wrong: an argument is missing
    await ctx.spawn(book, line)  # wrong: an argument without its name
    await ctx.spawn(undecorated, line=line)  # wrong: no task of an app
    number: int = await (await ctx.spawn(book, line=line)).result()  # wrong: the type of the result
    return number


@app.task("threads")
def threads(ctx: ThreadContext, line: Line) -> int:
    ctx.step("fetch", fetch, 7)  # wrong: the type of an argument
    ctx.emit("started")  # wrong: an event is an object
    ctx.wait_for_event("paid", timeout=60)  # wrong: a misspelt argument
    ctx.spawn(print_receipt, receipt=line)  # wrong: the type of an argument
    _, amount = ctx.gather(lambda: ctx.sleep(1), lambda: ctx.step(total, [], currency="EUR"))
    text: str = amount  # wrong: the type of a branch
    return ctx.spawn(check, invoice_id=text).result()


async def start(client: AsyncClient, blocking: Client, line: Line) -> int:
    await client.start(book, line="a")  # wrong: the type of an argument
    await client.start(book, lines=line)  # wrong: a misspelt argument
    await client.start(book, id="book-1")  # wrong: an argument is missing
    await client.start(book, line=line, id=1)  # wrong: the type of an option
    await client.start(undecorated, line=line)  # wrong: no task of an app
    blocking.start(book, line)  # wrong: an argument without its name
    return blocking.start(book, line=line).result()  # wrong: the type of the result


async def calls(ctx: Context) -> None:
    await book(ctx, "a")  # wrong: the type of an argument, in a unit test
    check(ctx, "a")  # wrong: this handler has no context
