"""`…/stream`: the content and the start of a stream. Live streams are in test_live_stream.py."""

import pytest

from runstead.core.runs.event import pascal

pytestmark = pytest.mark.postgres


def frames(response):
    """Return (id, event, data) of each frame, without comments and without the source."""
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    found = []
    for block in response.text.split("\n\n"):
        if block and not block.startswith(":"):
            names, values = zip(*(line.split(": ", 1) for line in block.split("\n")), strict=True)
            assert names == ("id", "event", "source", "data")
            found.append((int(values[0]), values[1], values[3]))
    return found


async def ended(api, *types):
    """Create an ended agent run with events of these types. Returns its path in its conversation."""
    run, path = await api.agent_run()
    for name in types:
        await api.append(run["run_id"], {"type": name})
    await api.complete(run["run_id"])
    return run["run_id"], path


async def test_an_ended_run_is_replayed_and_the_stream_ends(api):
    run_id, path = await ended(api, "RUN_STARTED", "TEXT_MESSAGE_CONTENT")
    conversation_id = path.split("/")[2]
    expected = [
        (1, "RunStarted", '{"type":"RUN_STARTED"}'),
        (2, "TextMessageContent", '{"type":"TEXT_MESSAGE_CONTENT"}'),
        (3, "RunFinished", f'{{"type":"RUN_FINISHED","threadId":"{conversation_id}","runId":"{run_id}"}}'),
    ]
    for stream in (f"/runs/{run_id}/stream", f"{path}/stream"):
        assert frames(await api.send("GET", stream)) == expected


async def test_a_stream_begins_after_the_last_event_the_caller_has(api):
    run_id, path = await ended(api, "A", "B", "C")
    for stream in (f"/runs/{run_id}/stream", f"{path}/stream"):

        async def ids(query="", stream=stream, **headers):
            return [frame[0] for frame in frames(await api.send("GET", f"{stream}{query}", headers=headers))]

        assert await ids("?after_event_id=2") == [3, 4]
        assert await ids(**{"Last-Event-ID": "1"}) == [2, 3, 4]
        assert await ids("?after_event_id=1", **{"Last-Event-ID": "3"}) == [4]
        assert await ids(**{"Last-Event-ID": ""}) == [1, 2, 3, 4]
        assert await ids(**{"Last-Event-ID": "4"}) == []
        assert await ids("?after_event_id=900") == []


BAD_IDS = ["-1", "1.0", "x", "1 2", "٣", str(2**53), "9" * 30, "0" * 5_000, "1e3"]


@pytest.mark.parametrize("last", BAD_IDS, ids=range(len(BAD_IDS)))
async def test_a_malformed_last_event_id_is_refused(driver, last):
    run_id, _ = await ended(driver)
    headers = {"Last-Event-ID": last.encode()}
    problem = await driver.refused(400, "INVALID_REQUEST", "GET", f"/runs/{run_id}/stream", headers=headers)
    assert problem["detail"] == "Last-Event-ID must be the number of an event"


@pytest.mark.parametrize("query", ["after_event_id=-1", "after_event_id=1.0", "after_event_id=x"])
async def test_a_malformed_cursor_is_refused(driver, query):
    run_id, _ = await ended(driver)
    await driver.refused(400, "INVALID_REQUEST", "GET", f"/runs/{run_id}/stream?{query}")


async def test_proxies_neither_store_nor_buffer_a_stream(api):
    run_id, _ = await ended(api)
    response = await api.send("GET", f"/runs/{run_id}/stream")
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["x-accel-buffering"] == "no"
    assert response.text.startswith(": ")


HOSTILE = [
    ("a: b", "AB"),
    ("data:x", "Datax"),
    ("é ☕", "Event"),
    ("tool__call", "ToolCall"),
    ("toolCallStart", "Toolcallstart"),
    ("id: 7", "Id7"),
    ("\u2028a\u2029", "A"),
    ("\u0085", "Event"),
    ("x" * 128, "X" + "x" * 127),
]


async def test_no_type_and_no_value_breaks_a_frame(api):
    run, path = await api.agent_run()
    values = ["line\nbreak", "\r\n\r\ndata: forged", "\u2028", "event: x\n\n"]
    events = [{"type": name, "v": values} for name, _ in HOSTILE]
    await api.post(f"{path}/events", {"events": events})
    pretty = b'{"events": [{\r\n  "type": "A",\n\n\t"x": {\n"y": 1}\n}]}'
    await api.post(f"{path}/events", pretty)
    await api.complete(run["run_id"], metadata={"model": "a\n\nb"})
    found = frames(await api.send("GET", f"{path}/stream"))
    assert [frame[1].lower() for frame in found[: len(HOSTILE)]] == [shown.lower() for _, shown in HOSTILE]
    assert [frame[0] for frame in found] == list(range(1, len(HOSTILE) + 3))
    assert found[-2][2] == '{"type":"A","x":{"y":1}}'


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("TOOL_CALL_START", "ToolCallStart"),
        ("RUN_FINISHED", "RunFinished"),
        ("CUSTOM", "Custom"),
        ("REASONING_MESSAGE_CONTENT", "ReasoningMessageContent"),
    ],
)
def test_a_frame_is_named_in_pascal_case(name, shown):
    assert pascal(name) == shown
