"""What a worker prints: the lines of its runs, and the report of a blocked event loop."""

import asyncio
import io
import logging
import threading

from runstead.sdk import App
from runstead.sdk.worker.log_handler import RunFilter
from runstead.sdk.worker.loop_watch import LoopWatch
from runstead.testing import Testbed


async def test_the_lines_of_a_run_have_its_id_and_are_printed_once_across_replays():
    app, printed = App(), logging.StreamHandler(io.StringIO())
    printed.addFilter(RunFilter())
    printed.setFormatter(logging.Formatter("%(run)s%(message)s"))
    logger = logging.getLogger("shop")
    logger.addHandler(printed)

    @app.task("order")
    async def order(ctx):
        logger.warning("begins")
        await ctx.sleep(60)
        logger.warning("ends")

    try:
        async with Testbed(app) as bed:
            run = await bed.run("task:order")
            logger.warning("outside")
            await bed.advance(60)
            await bed.result(run)
    finally:
        logger.removeHandler(printed)
    assert printed.stream.getvalue() == f"{run.run_id}: begins\noutside\n{run.run_id}: ends\n"


async def test_a_blocked_event_loop_is_reported_with_the_line_that_blocks_it():
    reports, reported = [], threading.Event()
    logger, handler = logging.getLogger("runstead.sdk.worker.worker"), logging.Handler()

    def emit(record):
        reports.append(record.getMessage())
        if "blocks the loop" in reports[-1]:
            reported.set()

    handler.emit = emit
    logger.addHandler(handler)
    watch = LoopWatch(blocked_s=0.05)
    try:
        for _ in range(20):  # a slow machine may be blocked, and reported, at another line first
            if reported.wait(3):  # blocks the loop until the report
                break
            await asyncio.sleep(0.2)
    finally:
        watch.close()
        logger.removeHandler(handler)
    [report] = [each for each in reports if "if reported.wait(3):  # blocks the loop" in each]
    assert "The event loop has been blocked for 0.05 s" in report
