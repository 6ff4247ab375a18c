"""The programs in the guides run unchanged."""

import json
import re

import pytest

from tests.docs.pages import blocks, name, text
from tests.support.server import KEY

from . import node

VERYFRONT, AG_UI = "docs/guides/veryfront-sdk.md", "docs/guides/ag-ui-in-a-browser.md"
URL_IN_DOCS, KEY_IN_DOCS = "http://127.0.0.1:8720", "vf_local_YOUR-KEY"
BLOCKS = blocks("js")
ENGINES = ("sqlite",)


def folder(page):
    return f"guides/{page.rpartition('/')[2].removesuffix('.md')}"


@pytest.fixture(scope="module")
def guide(programs, server, launch):
    """Runs a file of a guide, and returns its output lines."""
    for block in BLOCKS:
        file = re.match(r"// (\S+\.js)\n", block.text)[1]
        path = programs / folder(name(block.page)) / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text.replace(URL_IN_DOCS, server.url).replace(KEY_IN_DOCS, KEY))
    return lambda page, file: launch(f"{folder(page)}/{file}").lines()


@pytest.fixture(scope="module")
def greeting(api):
    """The run that the guide for browsers follows."""
    conversation = api.post("/conversations", {"project_id": api.project_id()})["id"]
    owner, request = {"kind": "conversation", "id": conversation}, {"agent_id": "greeter"}
    api.post("/runs", {"kind": "agent", "owner": owner, "public_id": "greeting", "request": request})
    message = {"messageId": "m1"}
    api.append(
        "greeting",
        [
            {"type": "TEXT_MESSAGE_START", **message, "role": "assistant"},
            {"type": "TEXT_MESSAGE_CONTENT", **message, "delta": "Hello, "},
            {"type": "TEXT_MESSAGE_CONTENT", **message, "delta": "Ada"},
            {"type": "TEXT_MESSAGE_END", **message},
        ],
    )
    api.complete("greeting")


def test_every_program_of_a_guide_says_where_it_is_kept():
    assert {name(block.page) for block in BLOCKS} == {VERYFRONT, AG_UI}
    for block in BLOCKS:
        assert re.match(r"// [a-z]+\.js\n", block.text), block.text[:40]


def test_the_guides_name_the_versions_that_are_tested():
    versions = json.loads((node.HERE / "package.json").read_text())["dependencies"]
    named = {
        found for page in (VERYFRONT, AG_UI) for found in re.findall(r"(\S+)@(\d+\.\d+\.\d+)", text(page))
    }
    assert named == set(versions.items())
    assert f"`veryfront` {versions['veryfront']}" in text(VERYFRONT)


def test_runs_are_created_listed_and_cancelled(guide, api):
    assert guide(VERYFRONT, "runs.js") == [
        "sync-2026-03-20 pending false",
        "sync-2026-03-20 task pending",
        "cancelled true",
    ]
    assert api.run("sync-2026-03-20")["config"] == {"batchSize": 100}


def test_an_agent_run_is_started_and_a_worker_completes_it(guide, api):
    (started,) = guide(VERYFRONT, "start.js")
    run_id, status = started.split()
    assert status == "pending"
    assert guide(VERYFRONT, "worker.js") == [f"completed {run_id}"]
    assert api.run(run_id)["status"] == "completed"
    assert [event["payload"].get("delta") for event in api.events(run_id)][2] == "The build is green."


def test_a_host_drives_its_own_run(guide, api):
    (line,) = guide(VERYFRONT, "host.js")
    outcome, run_id = line.split()
    assert outcome == "flushed"
    run = api.run(run_id)
    assert (run["status"], run["metadata"]["outputTokens"]) == ("completed", 3)


def test_a_page_shows_what_a_run_says(guide, greeting):
    assert guide(AG_UI, "page.js") == ["said: Hello, Ada"]


def test_an_agent_shows_a_run_that_is_there_already(guide, greeting):
    assert guide(AG_UI, "show.js")[-1] == "assistant: Hello, Ada"


def test_the_guide_s_follower_survives_a_network_that_breaks_repeatedly(guide, api, drive, programs):
    api.create(api.project_id(), "task:cut", public_id="cut")
    api.append("cut", [{"type": "CUSTOM", "name": "note", "value": number} for number in range(40)])
    api.complete("cut")
    follow = (programs / folder(AG_UI) / "follow.js").as_uri()
    facts = drive("cut_connections", follow=follow, runId="cut", cuts=4, bytes=333)
    assert facts["values"] == [*range(40), "RUN_FINISHED"]
    assert facts["connections"] == 5
    assert facts["refused"] == 404


@pytest.fixture(scope="module")
def encoded(guide, drive, programs):
    """A run with the SDK's events of a model's stream, as the guide's agent shows it."""
    return drive("encoder", agent=(programs / folder(AG_UI) / "agent.js").as_uri())


def test_what_the_sdk_makes_of_a_model_s_stream_is_stored_and_streamed_as_it_is(encoded, api):
    assert encoded["streamed"] == [*encoded["sent"], "RUN_FINISHED"]
    assert [event["event_type"] for event in api.events(encoded["runId"])] == encoded["streamed"]
    path = f"/conversations/{encoded['conversationId']}/runs/{encoded['runId']}/snapshot"
    (message,) = api.get(path)["events"][0]["event"]["messages"]
    kinds = [part["type"] for part in message["parts"]]
    assert kinds == ["reasoning", "text", "tool_call", "tool_result"]
    assert (message["content"], message["parts"][2]["input"]) == ("Hello, Ada", {"name": "Ada"})


def test_it_is_ag_ui_but_for_the_role_of_reasoning(encoded):
    assert encoded["refused"] == [{"type": "REASONING_MESSAGE_START", "messageId": "r1", "role": "assistant"}]


def test_the_guide_s_agent_shows_it_with_its_reasoning(encoded):
    said = [(message["role"], message.get("content")) for message in encoded["messages"]]
    assert ("reasoning", "Who is it?") in said
    assert ("assistant", "Hello, Ada") in said
    assert ("tool", '{"found":true}') in said
