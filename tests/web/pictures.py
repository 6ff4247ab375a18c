"""Makes the pictures in docs/images: each page of the dashboard, in light and dark, with example runs.

`make pictures` runs it. It needs chromium.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.support.server import KEY, PROGRAM, Server, environment
from tests.support.until import until

from .browser import Tab
from .conftest import CHROMIUM

WIDTH, HEIGHT = 1280, 860
#: The app under a path that is the same on every machine, since pictures show tracebacks.
APP = """
import linecache
source, path = {source!r}, "/srv/shop/reports.py"
linecache.cache[path] = len(source), None, source.splitlines(keepends=True), path
exec(compile(source, path, "exec"))
"""
PROJECT = "/ui/projects/default"


def fill(api) -> dict[str, str]:
    """Create the example data. Return the paths of the pages, by the name of their picture."""
    project = api.project_id()

    def run(kind, target, title=None, **request):
        body = {
            "kind": kind,
            "title": title,
            "owner": {"kind": "project", "id": project},
            "request": {"target": f"{kind}:{target}", **request},
        }
        return api.post("/runs", body)["run"]["run_id"]

    def wait_for_status(run_id, *statuses):
        return until(
            lambda: api.get(f"/runs/{run_id}")["status"] in statuses, f"{run_id} to be {statuses}", 60
        )

    def wait_for_question(run_id):
        until(lambda: api.get(f"/runs/{run_id}")["waiting_reason"] == "approval", f"{run_id} to ask", 60)

    hook = api.post(
        "/projects/default/webhooks",
        {"url": "https://hooks.example/runstead", "events": ["run.completed", "run.failed"]},
    )
    api.http.put(
        "/projects/default/prices",
        json={
            "provider": "anthropic",
            "model": "claude-large",
            "input": 3_000_000,
            "output": 15_000_000,
            "cached": 300_000,
        },
    )
    for scope, cost, reaction in (
        ({"kind": "project"}, "0.01", "alert"),
        ({"kind": "target", "value": "workflow:weekly-report"}, "25.00", "pause"),
    ):
        body = {"scope": scope, "period": "day", "limit": {"cost": cost}, "on_reached": reaction}
        api.post("/projects/default/budgets", body)
    schedule = api.post(
        "/projects/default/schedules",
        {
            "name": "Weekly report",
            "target": {"kind": "workflow", "id": "weekly-report"},
            "schedule": "0 6 * * mon",
            "timezone": "Europe/Lisbon",
            "config": {"week": 47},
        },
    )
    api.post(
        "/projects/default/schedules",
        {
            "name": "Feeds",
            "target": {"kind": "task", "id": "import-feed"},
            "schedule": "*/10 * * * *",
            "timezone": "UTC",
            "config": {"feed": "https://feeds.example/1"},
        },
    )
    feeds = [
        run("task", "import-feed", title=f"Feed {n}", config={"feed": f"https://feeds.example/{n}"})
        for n in range(1, 7)
    ]
    batch = api.post(
        "/projects/default/batches",
        {
            "name": "Index of November",
            "runs": [
                {"kind": "task", "request": {"target": "task:index", "config": {"part": n}}}
                for n in range(60)
            ],
        },
    )
    ended = run("workflow", "weekly-report", title="Report of week 46", config={"week": 46})
    wait_for_question(ended)
    call = api.get(f"/runs/{ended}")["waiting_tool_call_id"]
    api.post(f"/runs/{ended}/resume", {"type": "approval", "tool_call_id": call, "result": True})
    wait_for_status(ended, "completed")
    waiting = run("workflow", "weekly-report", title="Report of week 47", config={"week": 47})
    wait_for_question(waiting)
    for feed in feeds:
        wait_for_status(feed, "completed", "failed")
    run("task", "no-worker", title="Waits for a worker")
    cancelled = run("task", "no-worker", title="Cancelled")
    api.post(f"/runs/{cancelled}/cancel", {"reason": "no longer needed"})
    api.post("/projects/default/triggers", {"target": "task:import-feed"})
    return {
        "runs": f"{PROJECT}/runs",
        "run": f"{PROJECT}/runs/{ended}",
        "run-waiting": f"{PROJECT}/runs/{waiting}",
        "run-failed": f"{PROJECT}/runs/{feeds[2]}",
        "start": f"{PROJECT}/list/new?target=workflow:weekly-report",
        "usage": f"{PROJECT}/usage",
        "budgets": f"{PROJECT}/usage/budgets",
        "schedules": f"{PROJECT}/schedules",
        "schedule": f"{PROJECT}/schedules/{schedule['schedule']['id']}",
        "batches": f"{PROJECT}/batches",
        "batch": f"{PROJECT}/batches/{batch['batch']['id']}",
        "workers": f"{PROJECT}/workers",
        "webhooks": f"{PROJECT}/webhooks",
        "webhook": f"{PROJECT}/webhooks/{hook['webhook']['id']}",
        "access": f"{PROJECT}/access",
        "system": "/ui/system",
        "sessions": "/ui/sessions",
    }


def picture(url: str, pages: dict[str, str], to: Path, sizes: list[int]) -> list[str]:
    """Write one file for each page, colour scheme and width. Return the errors in the browser."""
    errors = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for scheme in ("light", "dark"):
            for width in sizes:
                size = {"width": width, "height": HEIGHT}
                context = browser.new_context(
                    base_url=url, color_scheme=scheme, viewport=size, locale="en-GB"
                )
                tab = Tab(context, url)
                tab.open("/ui/sign-in")
                suffix = scheme if width == WIDTH else f"{scheme}-{width}"
                tab.page.screenshot(path=to / f"sign-in-{suffix}.png")
                tab.sign_in(KEY)
                for name, path in pages.items():
                    tab.open(path)
                    tab.page.wait_for_function("document.readyState === 'complete'")
                    tab.page.wait_for_timeout(400)
                    tab.page.screenshot(path=to / f"{name}-{suffix}.png", full_page=width != WIDTH)
                errors += tab.errors
                tab.close()
        browser.close()
    return errors


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("to", type=Path)
    parser.add_argument("--width", type=int, nargs="*", default=[WIDTH])
    options = parser.parse_args()
    if CHROMIUM is None:
        sys.exit("chromium is missing: apt-get install chromium")
    options.to.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder), Path(folder) / "runstead.db").start()
        source = Path(__file__).with_name("pictured_app.py").read_text()
        (Path(folder) / "reports.py").write_text(APP.format(source=source))
        settings = environment(RUNSTEAD_URL=server.url, RUNSTEAD_KEY=KEY)
        worker = subprocess.Popen(
            [*PROGRAM, "worker", "reports:app", "--concurrency", "4"], env=settings, cwd=folder
        )
        try:
            with server.api() as api:
                pages = fill(api)
            errors = picture(server.url, pages, options.to, options.width)
        finally:
            worker.terminate()
            worker.wait()
            server.kill()
    sys.stdout.write(("\n".join(errors) or "no errors in the browser") + "\n")
    return bool(errors)


if __name__ == "__main__":
    sys.exit(main())
