"""An app as its authors write it, whose types the two files beside it use. It is checked, and not executed."""

from dataclasses import dataclass

from runstead import App, Context, ThreadContext

app = App()


@dataclass
class Line:
    sku: str
    count: int = 1


@dataclass
class Receipt:
    number: str


async def fetch(invoice_id: str, page: int = 1) -> list[Line]:
    return [Line(invoice_id, page)]


def total(lines: list[Line], *, currency: str) -> float:
    return float(len([*lines, Line(currency)]))


def undecorated(line: Line) -> Receipt:
    return Receipt(line.sku)


@app.task("book", retries=2)
async def book(ctx: Context, line: Line, copies: int = 1) -> Receipt:
    await ctx.sleep(60 * copies)
    return Receipt(line.sku)


@app.task("print")
def print_receipt(ctx: ThreadContext, receipt: Receipt) -> int:
    return ctx.step("print", len, receipt.number)


@app.workflow("check")
def check(invoice_id: str) -> bool:  # without a context
    return bool(invoice_id)
