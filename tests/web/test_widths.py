"""Every page at the widths of a phone, a tablet, a laptop and a desktop, in light and dark."""

import pytest
from playwright.sync_api import expect

from .run_pages import TaskRun

PROJECT = "/ui/projects/default"
#: Controls that a person could see but not reach: cut off at a side, or in a frame that scrolls sideways.
OUTSIDE = """() => [...document.querySelectorAll("a, button, input:not([type=hidden]), select, textarea, summary")]
  .filter((one) => one.checkVisibility({visibilityProperty: true, opacityProperty: true}))
  .filter((one) => !one.closest(".skip, .visually-hidden"))
  .map((one) => [one.getBoundingClientRect(), one])
  .filter(([box]) => box.width > 1 && (box.left < -0.5 || box.right > innerWidth + 0.5))
  .map(([box, one]) => `${one.outerHTML.slice(0, 90)} ends at ${Math.round(box.right)}`)"""
#: Cells that end outside of the frame of their table.
CUT = """() => [...document.querySelectorAll(".wide td, .wide th")]
  .filter((one) => one.getBoundingClientRect().right > one.closest(".wide").getBoundingClientRect().right + 0.5)
  .filter((one) => one.getBoundingClientRect().width > 1)
  .map((one) => one.outerHTML.slice(0, 90))"""


@pytest.fixture(scope="module")
def pages(server):
    """The paths of all pages, with a row in every table."""
    with server.api() as api:
        hook = api.post(
            "/projects/default/webhooks", {"url": "https://hooks.example/a-long-path", "events": ["*"]}
        )
        failed = TaskRun(api, title="Report of the week with a long title that needs its room")
        failed.step("fetch orders of the country")
        failed.log(["one line"])
        failed.complete("failed", error={"code": "ValueError", "message": "line 4,117 has 9 fields"})
        waiting = TaskRun(api, title="Waits")
        waiting.wait("approval", tool_call_id="approval:1", tool_name="approval")
        schedule = api.post(
            "/projects/default/schedules",
            {
                "name": "Weekly report of every country",
                "target": {"kind": "workflow", "id": "weekly-report-of-every-country"},
                "schedule": "0 6 * * mon",
                "timezone": "Europe/Lisbon",
            },
        )["schedule"]
        batch = api.post(
            "/projects/default/batches",
            {
                "name": "Index of November",
                "runs": [{"kind": "task", "request": {"target": "task:index"}}] * 3,
            },
        )["batch"]
        api.post("/projects/default/triggers", {"target": "task:import-feed"})
        api.post(
            "/agent-runtimes/push-services",
            {
                "service_name": "Guides of the north",
                "service_key": "guides-of-the-north",
                "scope_kind": "project",
                "project_id": "default",
                "base_url": "https://guides.example",
                "invoke_url": "https://guides.example/invoke",
            },
        )
        for path, body in (
            ("members", {"user_id": "a-user-with-a-long-id@example.com", "role": "member"}),
            ("limits", {"target": "task:index", "max_running": 5}),
        ):
            api.http.request("PUT" if path == "limits" else "POST", f"/projects/default/{path}", json=body)
        prices = {"provider": "anthropic", "model": "claude-large", "input": 3_000_000, "output": 15_000_000}
        api.http.put("/projects/default/prices", json=prices)
        run = f"{PROJECT}/runs/{failed.id}"
        yield [
            f"{PROJECT}/runs",
            f"{PROJECT}/runs/chart",
            *(
                run + view
                for view in ("", *(f"?view={one}" for one in ("timeline", "log", "events", "tree")))
            ),
            f"{PROJECT}/runs/{waiting.id}",
            *(
                f"{PROJECT}/{one}"
                for one in ("usage", "usage/prices", "schedules", "schedules/new", "batches")
            ),
            f"{PROJECT}/schedules/{schedule['id']}",
            f"{PROJECT}/batches/{batch['id']}",
            *(f"{PROJECT}/{one}" for one in ("workers", "webhooks", "access", "audit")),
            f"{PROJECT}/webhooks/{hook['webhook']['id']}",
            "/ui/system",
            "/ui/sessions",
            "/ui/new-project",
        ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_control_is_outside_the_viewport_on_any_page(open_tab, pages, scheme):
    tab = open_tab(pages[0], color_scheme=scheme)
    found = []
    for path in pages:
        tab.open(path)
        for width in (390, 768, 1024, 1440):
            tab.page.set_viewport_size({"width": width, "height": 800})
            scrolled = tab.page.evaluate("document.documentElement.scrollWidth")
            found += [f"{path} at {width}: {scrolled} px wide"] if scrolled > width else []
            found += [f"{path} at {width}: {one}" for one in tab.page.evaluate(OUTSIDE)]
            if width == 390:
                found += [f"{path} at {width}: cut: {one}" for one in tab.page.evaluate(CUT)]
    assert not found, "\n".join(found)


def test_a_phone_shows_runs_on_its_first_screen_and_folds_filters_and_chart(open_tab, pages):
    tab = open_tab(pages[0], viewport={"width": 390, "height": 800})
    expect(tab.page.locator("#rows tr").first).to_be_in_viewport(ratio=1)
    expect(tab.page.locator("#plot")).to_be_hidden()
    expect(tab.page.get_by_role("checkbox", name="failed")).to_be_hidden()
    tab.page.get_by_text("More filters").click()
    expect(tab.page.get_by_text("failed", exact=False).first).to_be_visible()
    tab.page.get_by_text("Chart", exact=True).click()
    expect(tab.page.locator("#plot")).to_be_visible()
    assert tab.page.locator("header").bounding_box()["height"] < 60, "the header has one line"
