"""The app whose runs the pictures in docs/images show. `runstead worker` serves it."""

import asyncio
import struct
import zlib
from typing import Literal

from runstead.sdk import App, Context

app = App()


def _chart() -> bytes:
    """A small PNG image of bars."""
    width, height = 240, 90
    tall = [20, 34, 28, 52, 47, 66, 58, 80]
    rows = b"".join(
        b"\x00"
        + b"".join(
            b"\x1f\x5f\x4a" if x % 30 < 22 and height - y <= tall[x // 30] else b"\xf1\xf2\xee"
            for x in range(width)
        )
        for y in range(height)
    )

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


async def _pause(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "done"


@app.workflow("weekly-report", retries=2)
async def weekly_report(
    ctx: Context, week: int, country: Literal["PT", "ES", "all"] = "all", notes: str | None = None
) -> dict:
    """Counts the orders of a week and sends the report after an approval.

    Args:
        week: Of this year, from 1.
        country: Whose orders are counted.
        notes: Shown at the top of the report.
    """
    ctx.log(f"report of week {week}")
    await ctx.step("fetch orders", _pause, 0.4)
    await ctx.gather(
        ctx.step("sum by country", _pause, 0.7),
        ctx.step("sum by product", _pause, 0.5),
        ctx.step("find outliers", _pause, 0.3),
    )
    child = await ctx.spawn("task:draw-chart", config={"title": f"Week {week}"})
    async with ctx.tool_call("search_orders", {"week": week, "country": "PT"}) as call:
        await asyncio.sleep(0.3)
        call.result = {"found": 312, "sum": "48,120.50"}
    await ctx.reasoning(
        "Portugal grew by 41 %. One customer is a third of it, which the report must mention."
    )
    async with ctx.text() as message:
        for word in f"Week {week} closed with 312 orders from Portugal, 41 % over the week before. ".split(
            " "
        ):
            await message.write(word + " ")
        await message.write("One customer made a third of them.")
    ctx.usage(
        "anthropic", "claude-large", input_tokens=18_420, output_tokens=1_205, cached_input_tokens=12_000
    )
    await child.result()
    approved = await ctx.wait_for_approval(f"Send the report of week {week} to 240 people?")
    ctx.log("approved" if approved else "denied")
    await ctx.step("send", _pause, 0.2)
    return {"week": week, "orders": 312, "sent": approved}


@app.task("draw-chart")
async def draw_chart(ctx: Context, title: str) -> str:
    await ctx.step("render", _pause, 0.5)
    await ctx.artifact(_chart(), "orders.png", "image/png")
    await ctx.artifact(b"country,orders\nPT,312\nES,198\n", "orders.csv", "text/csv")
    ctx.usage("openai", "small-4", input_tokens=2_100, output_tokens=310)
    return title


@app.task("import-feed", retries=1)
async def import_feed(ctx: Context, feed: str) -> int:
    ctx.log(f"GET {feed}")
    await ctx.step("download", _pause, 0.2)
    if feed.endswith("3"):
        raise ValueError("line 4,117 has 9 fields, and the header names 8")
    ctx.usage("openai", "small-4", input_tokens=900, output_tokens=80)
    return 4_120


@app.task("index")
async def index(ctx: Context, part: int) -> int:
    await asyncio.sleep(0.15 + part % 5 / 10)
    return part
