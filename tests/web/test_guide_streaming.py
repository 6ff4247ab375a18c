"""The page of the guide "Streaming to a browser" shows a run live, and so does its hook with React."""

import asyncio
import json
import re
import sys
import threading

import pytest
import uvicorn
from fastapi.responses import HTMLResponse, Response
from playwright.sync_api import expect

from runstead import AsyncClient
from tests.docs.pages import files, text
from tests.interop import node
from tests.support.until import until

PAGE = "docs/guides/streaming-to-a-browser.md"
SCRIPTS = dict(
    re.findall(
        r"`([\w.]+)`[^`\n]*(?:`[^`]*`[^`\n]*)?:\n\n```(?:javascript|html)\n(.*?)^```$",
        text(PAGE),
        re.MULTILINE | re.DOTALL,
    )
)
#: A page of React without a bundler: its modules for Node.js, and one that a browser imports.
REACT = {
    "react": "react/cjs/react",
    "scheduler": "scheduler/cjs/scheduler",
    "react-dom": "react-dom/cjs/react-dom",
}
REACT["react-dom/client"] = "react-dom/cjs/react-dom-client"
BUNDLE = """
const modules = {}, cache = {};
const require = (name) => {
  if (!cache[name]) modules[name](cache[name] = { exports: {} }, cache[name].exports, require);
  return cache[name].exports;
};
%s
export const { createElement, useEffect, useReducer } = require("react");
export const { createRoot } = require("react-dom/client");
"""
SHOWN = """<!doctype html><title>React</title><script type="importmap">{"imports": {"react": "/react.js"}}</script>
<p id="root"></p><script type="module">
import { createElement, createRoot } from "react";
import { useRun } from "/useRun.js";
const run = new URLSearchParams(location.search).get("run");
const Answer = () => { const { text, status } = useRun(run); return `${text}(${status})`; };
createRoot(document.querySelector("#root")).render(createElement(Answer));
</script>"""


@pytest.fixture
def web(server, tmp_path, monkeypatch):
    """The guide's application, with a worker beside it, on a port of its own."""
    for file, source in {**files(PAGE), **SCRIPTS}.items():
        (tmp_path / file).write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("RUNSTEAD_URL", server.url)
    monkeypatch.setenv("RUNSTEAD_KEY", server.key)
    import web as module
    import writer

    @module.web.get("/react")
    async def react_page() -> HTMLResponse:
        return HTMLResponse(SHOWN)

    @module.web.get("/{name}.js")
    async def script(name: str) -> Response:
        source = SCRIPTS["useRun.js"] if name == "useRun" else _react()
        return Response(source, media_type="text/javascript")

    serving = uvicorn.Server(uvicorn.Config(module.web, port=0, log_level="warning"))
    stops = []

    async def serve():
        async with AsyncClient(server.url, server.key, project="default") as client:
            worker = writer.app.worker(client, wait_seconds=1, grace_seconds=0)
            working = asyncio.ensure_future(worker.serve())
            stops.append((asyncio.get_running_loop(), worker))
            await serving.serve()
            worker.stop()
            await working

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    until(lambda: serving.started, "the application")
    yield f"http://127.0.0.1:{serving.servers[0].sockets[0].getsockname()[1]}"
    serving.should_exit = True
    thread.join(60)
    for name in ("web", "writer"):
        sys.modules.pop(name)


def _react():
    folder = node.modules()
    parts = [
        f"modules[{json.dumps(name)}] = (module, exports, require) => {{\n"
        f"{(folder / f'{path}.production.js').read_text()}\n}};"
        for name, path in REACT.items()
    ]
    return BUNDLE % "\n".join(parts)


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_a_page_and_a_react_hook_show_a_run_until_its_end(chromium, web):
    try:
        node.modules()
    except node.MissingError as missing:
        if node.required():
            raise
        pytest.skip(str(missing))
    page = chromium.new_context(base_url=web).new_page()
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto("/")
    page.get_by_label("Question").fill("why?")
    with page.expect_response("**/answers?*") as asked:
        page.get_by_role("button", name="Ask").click()
    expect(page.locator("#status")).to_have_text("completed")
    expect(page.locator("#text")).to_have_text("You asked: why? ")
    assert page.locator("progress").evaluate("bar => bar.value") == 1
    page.goto(f"/react?run={asked.value.json()['run']}")
    expect(page.locator("#root")).to_have_text("You asked: why? (completed)")
    assert errors == []
