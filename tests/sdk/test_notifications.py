"""Following a project across broken connections: no notification is missed without a resync."""

import json

import httpx2
import pytest

from runstead.sdk import AsyncClient, Client, NoAnswerError, Retries, RunsteadError, UnexpectedAnswerError

BROKEN = httpx2.ReadError("reset")
OPENED = b": following\nid: e-0\n\n"


def notification_frame(number, kind="run.updated", run_id="r", **members):
    data = {"type": kind, "run_id": run_id, "conversation_id": None, "status": "running"}
    data |= {"at": "2026-03-20T12:00:00.000Z", **members}
    return f"id: e-{number}\nevent: {kind}\ndata: {json.dumps(data)}\n\n".encode()


@pytest.fixture
def scripted(kit):
    def make(*outcomes, project="shop"):
        script, slept = kit.Script(*outcomes), []
        client = Client(
            "http://server",
            "key",
            project=project,
            transport=httpx2.MockTransport(script),
            retries=Retries(times=2, jitter=lambda: 1.0),
            sleep=slept.append,
        )
        return client, script, slept

    return make


def take(notifications, count):
    found = []
    for notification in notifications:
        found.append(notification)
        if len(found) == count:
            break
    notifications.close()
    return found


def cursors(script):
    return [request.headers.get("Last-Event-ID") for request in script.requests]


def test_a_notification_has_the_change_and_a_cursor(scripted, kit):
    client, script, _ = scripted(kit.stream(OPENED + notification_frame(1, "run.created", status="pending")))
    (found,) = take(client.notifications.follow(), 1)
    assert (found.type, found.run_id, found.status, found.cursor) == ("run.created", "r", "pending", "e-1")
    assert found.at.isoformat() == "2026-03-20T12:00:00+00:00"
    assert str(script.requests[0].url) == "http://server/projects/shop/notifications"
    assert cursors(script) == [None]


def test_a_new_connection_continues_after_the_last_notification(scripted, kit):
    client, script, slept = scripted(
        kit.stream(OPENED, notification_frame(1), notification_frame(2)[:-5], error=BROKEN),
        kit.stream(b": following\n\n" + notification_frame(2)),
    )
    assert [one.cursor for one in take(client.notifications.follow(), 2)] == ["e-1", "e-2"]
    assert cursors(script) == [None, "e-1"]
    assert slept == [0.25]


def test_a_connection_that_breaks_before_a_notification_continues_where_it_opened(scripted, kit):
    client, script, _ = scripted(kit.stream(OPENED, error=BROKEN), kit.stream(notification_frame(1)))
    take(client.notifications.follow(), 1)
    assert cursors(script) == [None, "e-0"]


def test_a_connection_that_breaks_before_it_opened_requests_a_resync(scripted, kit):
    client, script, _ = scripted(
        kit.stream(error=BROKEN), kit.stream(notification_frame(4, "resync", None, status=None))
    )
    (found,) = take(client.notifications.follow(), 1)
    assert (found.type, found.run_id, found.status) == ("resync", None, None)
    assert cursors(script) == [None, "none"]


def test_it_continues_after_a_given_cursor(scripted, kit):
    client, script, _ = scripted(kit.stream(notification_frame(8)))
    take(client.notifications.follow("other", after="e-7"), 1)
    assert cursors(script) == ["e-7"]
    assert script.requests[0].url.path == "/projects/other/notifications"


def test_a_stream_that_ends_is_opened_again(scripted, kit):
    client, script, _ = scripted(*[kit.stream(OPENED, notification_frame(n)) for n in range(1, 9)])
    assert len(take(client.notifications.follow(), 8)) == 8
    assert cursors(script)[1:] == [f"e-{n}" for n in range(1, 8)]


def test_an_unavailable_server_raises_after_the_retries(scripted, kit):
    client, script, slept = scripted(
        kit.stream(OPENED + notification_frame(1)), *[httpx2.ConnectError("refused")] * 2
    )
    with pytest.raises(NoAnswerError):
        list(client.notifications.follow())
    assert len(script.requests) == 3
    assert slept == [0.25, 0.5]


def test_an_unknown_project_is_an_error_at_once(scripted, kit):
    client, _, _ = scripted(kit.problem(404, "NOT_FOUND"))
    with pytest.raises(RunsteadError, match="NOT_FOUND"):
        list(client.notifications.follow())


def test_an_answer_that_cannot_be_understood_is_an_error(scripted, kit):
    for wrong in (b"data: x\n\n", b"data: {}\n\n", b'data: {"type":"a"}\n\n'):
        client, _, _ = scripted(kit.stream(wrong))
        with pytest.raises(UnexpectedAnswerError, match="not understood"):
            list(client.notifications.follow())
    client, _, _ = scripted(httpx2.Response(200, text="hello"))
    with pytest.raises(RunsteadError, match="not answered with a stream"):
        list(client.notifications.follow())


def test_it_needs_a_project(scripted):
    client, _, _ = scripted(project=None)
    with pytest.raises(ValueError, match="project"):
        list(client.notifications.follow())


def test_silence_breaks_the_connection_after_three_missing_heartbeats(scripted, kit):
    client, script, _ = scripted(kit.stream(notification_frame(1)))
    take(client.notifications.follow(), 1)
    assert script.requests[0].extensions["timeout"]["read"] == 45.0


async def test_the_async_client_does_the_same(kit):
    script = kit.Script(
        kit.stream(OPENED, notification_frame(1), error=BROKEN),
        kit.problem(503, "SHUTTING_DOWN", **{"Retry-After": "2"}),
        kit.stream(notification_frame(2, "run.completed")),
    )
    slept = []

    async def sleep(seconds):
        slept.append(seconds)

    client = AsyncClient(
        "http://server",
        "key",
        project="shop",
        transport=httpx2.MockTransport(script),
        retries=Retries(times=2, jitter=lambda: 1.0),
        sleep=sleep,
    )
    found = []
    async for notification in client.notifications.follow():
        found.append(notification.type)
        if notification.type == "run.completed":
            break
    assert found == ["run.updated", "run.completed"]
    assert cursors(script) == [None, "e-1", "e-1"]
    assert slept == [0.25, 2.5]
