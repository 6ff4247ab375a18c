import httpx2
import pytest

from runstead.sdk import AsyncClient, Client, NoAnswerError, Retries, RunsteadError

BROKEN = httpx2.ReadError("reset")


@pytest.fixture
def scripted(kit):
    def make(*outcomes, project=None):
        script, slept = kit.Script(*outcomes), []
        client = Client(
            "http://server",
            "key",
            project=project,
            transport=httpx2.MockTransport(script),
            retries=Retries(times=3, jitter=lambda: 1.0),
            sleep=slept.append,
        )
        return client, script, slept

    return make


def ids(events):
    return [event.event_id for event in events]


def test_it_ends_with_the_terminal_event(scripted, kit):
    late = kit.frame(3)
    client, _, slept = scripted(kit.stream(kit.frame(1, "RUN_STARTED") + kit.frame(2, "RUN_FINISHED") + late))
    events = list(client.events.follow("r"))
    assert [(e.event_id, e.event_type) for e in events] == [(1, "RUN_STARTED"), (2, "RUN_FINISHED")]
    assert events[-1].terminal
    assert slept == []


def test_a_new_connection_continues_after_the_last_complete_event(scripted, kit):
    cut = kit.frame(3)[:-5]
    client, script, slept = scripted(
        kit.stream(b": hi\n\n", kit.frame(1), kit.frame(2) + cut, error=BROKEN),
        kit.stream(kit.frame(3), kit.frame(4, "RUN_ERROR")),
    )
    assert ids(client.events.follow("r")) == [1, 2, 3, 4]
    assert [request.headers.get("Last-Event-ID") for request in script.requests] == [None, "2"]
    assert slept == [0.25]


def test_events_that_the_server_repeats_are_yielded_once(scripted, kit):
    client, _, _ = scripted(
        kit.stream(kit.frame(1), kit.frame(2)),
        kit.stream(kit.frame(1), kit.frame(2), kit.frame(3, "RUN_FINISHED")),
    )
    assert ids(client.events.follow("r")) == [1, 2, 3]


def test_it_starts_after_a_given_event(scripted, kit):
    client, script, _ = scripted(kit.stream(kit.frame(8, "RUN_FINISHED")))
    assert ids(client.events.follow("r", after_event_id=7)) == [8]
    assert script.requests[0].headers["Last-Event-ID"] == "7"


def test_silence_breaks_the_connection_after_three_missing_heartbeats(scripted, kit):
    client, script, _ = scripted(kit.stream(kit.frame(1, "RUN_FINISHED")))
    list(client.events.follow("r"))
    assert script.requests[0].extensions["timeout"]["read"] == 45.0


def test_an_unavailable_server_raises_after_the_retries(scripted, kit):
    client, script, slept = scripted(
        kit.stream(kit.frame(1), error=BROKEN), *[httpx2.ConnectError("refused")] * 3
    )
    seen = []
    with pytest.raises(NoAnswerError):
        seen.extend(client.events.follow("r"))
    assert len(script.requests) == 4
    assert slept == [0.25, 0.5, 1.0]


def test_every_working_connection_resets_the_retries(scripted, kit):
    client, _, _ = scripted(
        *[outcome for _ in range(5) for outcome in (BROKEN, kit.stream(b":\n\n", error=BROKEN))],
        kit.stream(kit.frame(1, "RUN_FINISHED")),
    )
    assert ids(client.events.follow("r")) == [1]


def test_a_busy_server_is_called_again_after_its_retry_after(scripted, kit):
    busy = kit.problem(503, "SHUTTING_DOWN", **{"Retry-After": "2"})
    client, _, slept = scripted(busy, kit.stream(kit.frame(1, "RUN_FINISHED")))
    assert ids(client.events.follow("r")) == [1]
    assert slept == [2.25]


def test_an_unknown_run_is_an_error_at_once(scripted, kit):
    client, _, _ = scripted(kit.problem(404, "NOT_FOUND"))
    with pytest.raises(RunsteadError, match="NOT_FOUND"):
        list(client.events.follow("r"))


def test_an_answer_that_is_no_stream_is_an_error(scripted):
    client, _, _ = scripted(httpx2.Response(200, text="hello"))
    with pytest.raises(RunsteadError, match="not answered with a stream"):
        list(client.events.follow("r"))


def test_following_from_after_the_end_of_an_ended_run_ends(scripted, kit):
    client, script, _ = scripted(
        kit.stream(),
        httpx2.Response(200, json=kit.run_body("r", "completed")),
        httpx2.Response(200, json={"data": [], "page_info": {}}),
    )
    assert ids(client.events.follow("r", after_event_id=9)) == []
    assert script.requests[-1].url.params["after_event_id"] == "9"


def test_a_stream_that_ended_early_is_opened_again_where_events_are_left(scripted, kit):
    left = {"event_id": 5, "event_type": "RUN_FINISHED", "payload": {}, "created_at": "2026-03-20T12:00:00Z"}
    client, _, _ = scripted(
        kit.stream(),
        httpx2.Response(200, json=kit.run_body("r", "completed")),
        httpx2.Response(200, json={"data": [left], "page_info": {}}),
        kit.stream(kit.frame(5, "RUN_FINISHED")),
    )
    assert ids(client.events.follow("r", after_event_id=4)) == [5]


def test_a_filter_hides_the_terminal_event_and_still_ends(scripted, kit):
    client, script, _ = scripted(kit.stream(kit.frame(1, "STEP_STARTED"), kit.frame(2, "RUN_FINISHED")))
    assert ids(client.events.follow("r", event_types=["STEP_STARTED"])) == [1]
    assert script.requests[0].url.params.get_list("event_type") == [
        "RUN_ERROR",
        "RUN_FINISHED",
        "STEP_STARTED",
    ]


def test_the_server_may_set_the_reconnection_time(scripted, kit):
    client, _, slept = scripted(
        kit.stream(b"retry: 3000\n" + kit.frame(1)), kit.stream(kit.frame(2, "RUN_FINISHED"))
    )
    assert ids(client.events.follow("r")) == [1, 2]
    assert slept == [3.25]


def test_an_ambiguous_run_is_followed_in_the_clients_project(scripted, kit):
    ambiguous = kit.problem(409, "RUN_ID_AMBIGUOUS")
    client, script, _ = scripted(ambiguous, kit.stream(kit.frame(1, "RUN_FINISHED")), project="shop")
    assert ids(client.events.follow("r")) == [1]
    assert script.requests[1].url.params["project"] == "shop"


async def test_the_async_client_follows_a_conversations_run_the_same_way(kit):
    slept = []

    async def sleep(seconds):
        slept.append(seconds)

    script = kit.Script(
        kit.stream(kit.frame(1), error=BROKEN),
        httpx2.ConnectError("refused"),
        kit.stream(kit.frame(2, "RUN_FINISHED")),
    )
    client = AsyncClient(
        "http://server",
        transport=httpx2.MockTransport(script),
        retries=Retries(times=3, jitter=lambda: 1.0),
        sleep=sleep,
    )
    assert [event.event_id async for event in client.events.follow("r", conversation_id="c")] == [1, 2]
    assert {request.url.path for request in script.requests} == {"/conversations/c/runs/r/stream"}
    assert slept == [0.25, 0.5]
