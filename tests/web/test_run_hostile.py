"""Hostile text in a run is shown as text and breaks nothing."""

import pytest
from playwright.sync_api import expect

from .run_pages import InputRun, TaskRun, text_delta, text_start, tool_call, tool_result

MARKUP = (
    "<img src=x onerror=\"document.title='gone'\"><script>document.title='gone'</script></pre></textarea>"
)
ANSI = "\x1b[31mred\x1b]0;title\x07"
BIDI = "safe\u202etxt.exe\u2066"
TEMPLATE = "{{ 7 * 7 }}{% raw %}${7*7}"
EVIL = f"{MARKUP}{ANSI}{BIDI}{TEMPLATE}\u2028'\"&amp;"
#: Names hold no control characters: the API refuses them.
NAME = f"{MARKUP}{BIDI}{TEMPLATE}'\"&amp;"
LONG = "x" * 200_000
VIEWS = ("overview", "timeline", "conversation", "log", "events", "tree")


@pytest.fixture(scope="module")
def hostile(server):
    """A failed run with hostile text in every field."""
    with server.api() as api:
        run = TaskRun(api, title=NAME[:250], input={EVIL: LONG}, config={"a": EVIL})
        append_hostile_events(run)
        TaskRun(api, parent=run, title=NAME[:250], claimed=False)
        run.append(
            text_start("w"), *(text_delta("x" * 100_000, "w") for _ in range(10))
        )  # a megabyte without a space
        run.log("y" * 1_000 + LONG + "\n")
        run.complete(
            "failed",
            terminal_error_code=NAME[:100],
            terminal_error_message=EVIL + "z" * 50_000,
            error_detail={EVIL: EVIL},
            output={EVIL: [EVIL, LONG]},
            logs=f"{EVIL}\n{LONG}\n",
            artifacts=[{"name": NAME[:200], "media_type": EVIL[:100], "uri": f"javascript:{EVIL}"}],
            metadata={"provider": EVIL, "model": EVIL},
        )
        yield run


def append_hostile_events(run):
    run.step(EVIL)
    run.end_step(EVIL, error={"message": EVIL})
    run.append(
        text_start(EVIL[:100], role=EVIL[:100]),
        text_delta(EVIL, EVIL[:100]),
        {"type": "REASONING_MESSAGE_CONTENT", "messageId": "r", "delta": EVIL},
        *tool_call("c", EVIL, f'{{"q": "{LONG[:1000]}"}}'),
        tool_result(EVIL),
        {"type": NAME[:100], "name": EVIL},
        {"type": "CUSTOM", "name": "run.progress", "value": {"fraction": 0.5, "message": EVIL[:512]}},
        {"type": "CUSTOM", "name": "run.value", "value": {"name": NAME[:128], "value": EVIL}},
    )
    run.log(f"{EVIL}\nERROR {EVIL}\n")


def unharmed(tab):
    """Check that no script ran and that the page does not overflow. Return its text."""
    assert tab.page.evaluate("window.gone") is None
    assert tab.page.locator("img[src=x], main script").count() == 0
    for one in (360, 1280):
        tab.page.set_viewport_size({"width": one, "height": 800})
        assert tab.page.evaluate("document.documentElement.scrollWidth") <= one
    text = tab.page.locator("main").inner_text()
    assert not set(text) & set("\x1b\x07\u202e\u2066\u2028")
    return text


def test_a_hostile_run_is_shown_as_text(open_tab, hostile):
    tab = open_tab()
    for view in VIEWS:
        tab.open(f"{hostile.page}?view={view}")
        text = unharmed(tab)
        assert "<script>" in text, view
        assert "␛[31mred" in text, view
        assert "⟨U+202E⟩" in text, view
        assert tab.page.evaluate("document.documentElement.outerHTML.length") < 1_500_000


def test_a_hostile_live_run_is_shown_as_text(open_tab, api):
    run = TaskRun(api)
    tabs = {view: open_tab(f"{run.page}?view={view}") for view in ("overview", "conversation", "log")}
    append_hostile_events(run)
    expect(tabs["overview"].page.locator("#run-timeline")).to_contain_text("<script>")
    expect(tabs["conversation"].page.locator("#transcript")).to_contain_text("<script>")
    expect(tabs["log"].page.locator("#log")).to_contain_text("<script>")
    run.append(text_start("w"), *(text_delta("x" * 100_000, "w") for _ in range(10)))
    run.complete("failed", terminal_error_message=EVIL)
    for tab in tabs.values():
        expect(tab.page.locator("#run-head")).to_contain_text("failed")
        expect(tab.page.locator("#run-head")).to_contain_text("<script>")
        unharmed(tab)


def test_a_hostile_form_is_shown_as_text(open_tab, api):
    options = [{"value": NAME, "label": NAME}]
    asking = InputRun(
        api,
        {"name": NAME[:100], "label": NAME, "type": "text", "defaultValue": EVIL, "placeholder": EVIL[:100]},
        {
            "name": "loop",
            "label": "Loop",
            "type": "text",
            "pattern": "(a+)+$",
            "defaultValue": "a" * 40 + "!",
        },
        {"name": "b", "label": NAME, "type": "radio", "options": options, "description": EVIL},
        {"name": "c", "label": NAME, "type": "select", "options": options},
        {"name": "d", "label": NAME, "type": "confirm", "confirmLabel": MARKUP[:60], "denyLabel": BIDI},
        {"name": "e", "label": NAME, "type": "textarea", "rows": 10**9, "defaultValue": EVIL},
        title=EVIL,
        description=EVIL,
    )
    tab = open_tab(asking.page)
    text = unharmed(tab)
    assert "<script>" in text
    assert tab.page.locator("textarea").first.evaluate("one => one.rows") == 20
    tab.page.get_by_role("button", name="Send").click()
    expect(tab.page.get_by_text("The form was sent")).to_be_visible()
    assert asking.input_request()["latest_response"]["values"]["loop"] == "a" * 40 + "!"


@pytest.mark.parametrize("question", [EVIL, LONG])
def test_a_hostile_question_is_shown_as_text(open_tab, api, question):
    run = TaskRun(api)
    run.append({"type": "CUSTOM", "name": "run.asked", "value": {"tool_call_id": "a", "question": question}})
    run.wait("approval", tool_call_id="a", tool_name=NAME[:200])
    tab = open_tab(run.page)
    unharmed(tab)
    tab.page.get_by_role("button", name="Deny").click()
    expect(tab.page.get_by_text("Denied.")).to_be_visible()
