"""What a worker prints: the lines of its runs, and the report of a blocked event loop."""

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


async def test_a_blocked_event_loop_is_reported_with_the_line_that_blocks_it(caplog):
    reported = threading.Event()
    logger, handler = logging.getLogger("runstead.sdk.worker.worker"), logging.Handler()
    handler.emit = lambda _: reported.set()
    logger.addHandler(handler)
    watch = LoopWatch(blocked_s=0.05)
    try:
        assert reported.wait(30)  # blocks the loop until the report
    finally:
        watch.close()
        logger.removeHandler(handler)
    assert "The event loop has been blocked for 0.05 s" in caplog.text
    assert "assert reported.wait(30)  # blocks the loop" in caplog.text
