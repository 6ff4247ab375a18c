"""Measures what a browser with an empty cache transfers for a page, and when the page reacts to input.

PYTHONPATH=. .venv/bin/python -P -m tests.web.page_weight
"""

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.support.server import KEY, Server

from .browser import Tab
from .conftest import CHROMIUM
from .run_pages import RUNS, TaskRun

#: Ends when the scripts have run and the page has drawn; the time is the end of the last long task until then, or the
#: time at which the page was parsed, in ms.
_INTERACTIVE = """() => new Promise((done) => {
  const tasks = [];
  new PerformanceObserver((list) => tasks.push(...list.getEntries())).observe({type: "longtask", buffered: true});
  setTimeout(() => done(Math.max(
    performance.getEntriesByType("navigation")[0].domInteractive, ...tasks.map((one) => one.startTime + one.duration))), 1_000);
})"""
#: How many times slower the processor of the measured browser is, as in Lighthouse's reports for phones.
SLOWDOWN = 4


def fill(api) -> list[str]:
    """Create 60 runs, one of them with 40 steps, a conversation and a log. Return the paths of the two pages."""
    for number in range(59):
        run = TaskRun(api, title=f"Report of week {number}", claimed=number % 3 > 0)
        if number % 3 == 2:
            run.complete("failed" if number % 2 else "completed")
    run = TaskRun(api, title="Report of the year", input={"weeks": 52})
    for number in range(40):
        run.step(f"sum of country {number}", str(number))
        run.end_step(f"sum of country {number}", str(number))
    run.step("send", "40")
    run.log("2026-03-20T12:00:00.000Z INFO [attempt 1] shop: fetched a country\n" * 200)
    return [RUNS, run.page]


def measure(tab: Tab, path: str, slowdown: int = 1) -> tuple[int, float]:
    """The transferred bytes, headers included, and the time at which the page is interactive in ms, without a cache."""
    devtools = tab.context.new_cdp_session(tab.page)
    received: dict[str, int] = {}

    def add(event):
        received[event["requestId"]] = received.get(event["requestId"], 0) + event["encodedDataLength"]

    def ended(event):
        received[event["requestId"]] = event["encodedDataLength"]  # with the headers

    devtools.on("Network.dataReceived", add)
    devtools.on("Network.loadingFinished", ended)
    devtools.send("Network.enable")
    devtools.send("Network.setCacheDisabled", {"cacheDisabled": True})
    devtools.send("Emulation.setCPUThrottlingRate", {"rate": slowdown})
    tab.open(path)
    interactive_ms = tab.page.evaluate(_INTERACTIVE)
    devtools.detach()
    return sum(received.values()), interactive_ms


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        server = Server(Path(folder), Path(folder) / "runstead.db").start()
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            with server.api() as api:
                paths = fill(api)
            tab = Tab(browser.new_context(base_url=server.url), server.url)
            tab.sign_in(KEY)
            for path in paths:
                found = sorted(measure(tab, path, SLOWDOWN) for _ in range(5))
                median = sorted(one[1] for one in found)[2]
                sys.stdout.write(f"{path}: {found[-1][0]:,} bytes, interactive after {median:.0f} ms\n")
        finally:
            browser.close()
            server.kill()


if __name__ == "__main__":
    main()
