"""Following a family across broken connections, by cursor, until all of its runs have ended."""

import json

import httpx2
import pytest

from runstead.sdk import AsyncClient, Client, Retries

BROKEN = httpx2.ReadError("reset")


def item(position, run_id, event_id, kind="CUSTOM", member="payload"):
    event = {"event_id": event_id, "event_type": kind, member: {"type": kind}}
    event |= {"created_at": "2026-03-20T12:00:00.000Z", "run_id": run_id, "cursor": f"f0-{position}"}
    return f"id: f0-{position}\nevent: X\ndata: {json.dumps(event)}\n\n".encode()


@pytest.fixture
def scripted(kit):
    def make(*outcomes):
        script, slept = kit.Script(*outcomes), []
        client = Client(
            "http://server",
            "key",
            transport=httpx2.MockTransport(script),
            retries=Retries(times=3, jitter=lambda: 1.0),
            sleep=slept.append,
        )
        return client, script, slept

    return make


def over(kit, active=0):
    counts = {"total": 1, "active": active}
    return httpx2.Response(200, json=kit.run_body("r", "completed", descendants=counts))


def rest(*items):
    return httpx2.Response(200, json={"data": list(items), "page_info": {}})


def positions(events):
    return [(event.run_id, event.event_id, event.cursor) for event in events]


def test_it_ends_with_the_family_and_not_with_the_root(scripted, kit):
    chunks = item(1, "r", 1, "RUN_FINISHED"), item(2, "c", 1), item(3, "c", 2, "RUN_FINISHED")
    client, script, slept = scripted(kit.stream(*chunks), over(kit), rest())
    events = list(client.events.follow("r", include_descendants=True))
    assert positions(events) == [("r", 1, "f0-1"), ("c", 1, "f0-2"), ("c", 2, "f0-3")]
    assert script.requests[0].url.params["include_descendants"] == "true"
    assert script.requests[-1].url.params["cursor"] == "f0-3"
    assert slept == []


def test_a_stream_that_ended_before_the_family_did_is_opened_again(scripted, kit):
    client, script, _ = scripted(
        kit.stream(item(1, "r", 1, "RUN_FINISHED")),
        over(kit, active=1),
        kit.stream(item(2, "c", 1, "RUN_FINISHED")),
        over(kit),
        rest(),
    )
    assert positions(client.events.follow("r", include_descendants=True)) == [
        ("r", 1, "f0-1"),
        ("c", 1, "f0-2"),
    ]
    assert script.requests[2].headers["Last-Event-ID"] == "f0-1"


def test_a_new_connection_continues_after_the_last_cursor_and_repeats_nothing(scripted, kit):
    client, script, _ = scripted(
        kit.stream(item(4, "a", 1), item(5, "b", 1), error=BROKEN),
        kit.stream(item(5, "b", 1), item(6, "a", 2), item(7, "b", 2)),
        over(kit),
        rest(),
    )
    events = client.events.follow("r", include_descendants=True, cursor="f0-3")
    assert positions(events) == [("a", 1, "f0-4"), ("b", 1, "f0-5"), ("a", 2, "f0-6"), ("b", 2, "f0-7")]
    assert [r.headers.get("Last-Event-ID") for r in script.requests[:2]] == ["f0-3", "f0-5"]


def test_only_the_given_types_are_requested(scripted, kit):
    client, script, _ = scripted(kit.stream(item(1, "c", 1)), over(kit), rest())
    assert positions(client.events.follow("r", include_descendants=True, event_types=["CUSTOM"]))
    assert script.requests[0].url.params.get_list("event_type") == ["CUSTOM"]


def test_stored_events_of_a_family_are_read_page_by_page(scripted):
    first = {"event_id": 1, "event_type": "A", "payload": {}, "run_id": "c", "cursor": "f0-1"}
    page = httpx2.Response(200, json={"data": [first], "page_info": {"next": "f0-1"}})
    client, script, _ = scripted(page, rest({**first, "event_id": 2, "cursor": "f0-2"}))
    assert [event.event_id for event in client.events.iter("r", include_descendants=True)] == [1, 2]
    assert [request.url.params.get("cursor") for request in script.requests] == [None, "f0-1"]


async def test_the_async_client_follows_a_familys_conversation_the_same_way(kit):
    script = kit.Script(kit.stream(item(1, "c", 1, member="event")), over(kit), rest())
    client = AsyncClient("http://server", transport=httpx2.MockTransport(script))
    events = [
        event async for event in client.events.follow("r", conversation_id="v", include_descendants=True)
    ]
    assert positions(events) == [("c", 1, "f0-1")]
    assert events[0].payload == {"type": "CUSTOM"}
    # A projection has no `descendants`, so the run itself is read
    paths = [request.url.path for request in script.requests]
    assert paths == ["/conversations/v/runs/r/stream", "/runs/r", "/conversations/v/runs/r/events"]
