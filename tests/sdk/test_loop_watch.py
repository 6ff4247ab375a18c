"""The report of a blocked event loop."""

import logging
import threading

from runstead.sdk.worker.loop_watch import LoopWatch


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
