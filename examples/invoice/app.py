"""Invoices: fetch, read the lines, ask for approval, wait an hour, book each line, undo all if one fails."""

import ledger
from ledger import Line, Receipt
from runstead import App, ChildFailed, Context, Step, WaitTimeout

app = App()


@app.task("book-line")
async def book_line(ctx: Context, line: Line) -> str:
    return await ctx.step(ledger.book, line)


@app.workflow("invoice")
async def invoice(ctx: Context, invoice_id: str) -> Receipt:
    texts = await ctx.step(ledger.fetch, invoice_id, options=Step(retries=3))
    lines = await ctx.gather(*(ctx.step(ledger.parse, text) for text in texts))
    cents = sum(line.cents for line in lines)
    try:
        if not await ctx.wait_for_approval(f"Book {cents / 100:.2f}?", timeout_seconds=86400):
            return Receipt("rejected")
    except WaitTimeout:
        return Receipt("expired")
    await ctx.sleep(3600)
    bookings: list[str] = []
    try:
        for line in lines:
            child = await ctx.spawn(book_line, line=line)
            bookings.append(await child.result())
    except ChildFailed:
        for booking in reversed(bookings):
            await ctx.step(ledger.unbook, booking)
        raise
    return Receipt("booked", cents, bookings)


@app.workflow("close-day", cron="30 2 * * *", time_zone="Europe/Berlin")
async def close_day(ctx: Context) -> None:
    await ctx.step(ledger.close_day)
