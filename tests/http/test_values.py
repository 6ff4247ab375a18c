"""Progress on the run object, and `/runs/{run_id}/values`."""

import pytest

from runstead.core import limits

pytestmark = pytest.mark.postgres

AT = "2026-03-20T12:00:00.000Z"


def progress(**value):
    return {"type": "CUSTOM", "name": "run.progress", "value": value}


def value(name, content):
    return {"type": "CUSTOM", "name": "run.value", "value": {"name": name, "value": content}}


class Worked:
    """A run that a worker has claimed."""

    def __init__(self, api, taken):
        self.api, self.path = api, f"/runs/{taken['run_id']}"
        self.lease = {"headers": {"X-Lease-Token": taken["lease_token"]}}

    async def append(self, *events, **members):
        return await self.api.post(f"{self.path}/events", {"events": list(events), **members}, **self.lease)

    async def refused(self, status, code, *events):
        body = {"events": list(events)}
        return await self.api.refused(status, code, "POST", f"{self.path}/events", body, **self.lease)

    async def values(self, query=""):
        return (await self.api.get(f"{self.path}/values{query}"))["data"]


@pytest.fixture
async def worked(api):
    taken, _ = await api.claimed()
    return Worked(api, taken)


async def test_a_runs_progress_is_shown_wherever_the_run_is(api, worked):
    assert (await api.get(worked.path))["progress"] is None
    answer = await worked.append(
        progress(fraction=0.25, message="parsing"), progress(fraction=1, message=None)
    )
    shown = {"fraction": 1.0, "at": AT}
    assert answer["run"]["progress"] == shown
    for path in (worked.path, "/runs", "/runs?fields=progress", f"/projects/{api.project.id}/runs"):
        found = await api.get(path)
        assert (found["data"][0] if "data" in found else found)["progress"] == shown
    [node] = (await api.get(f"{worked.path}/tree"))["data"]
    assert node["progress"] == shown
    await api.complete(worked.path.removeprefix("/runs/"))
    assert (await api.get(worked.path))["progress"] == shown


async def test_an_agents_projection_shows_its_progress(api):
    run, path = await api.agent_run(request={"implementation_kind": "claude"})
    assert (await api.get(path))["progress"] is None
    worker, _ = await api.worker()
    taken = (await api.claim(worker, kinds=["agent"]))["run"]
    assert taken["run_id"] == run["run_id"]
    await Worked(api, taken).append(progress(message="half way"))
    assert (await api.get(path))["progress"] == {"message": "half way", "at": AT}


async def test_values_are_read_at_any_time(api, worked):
    assert await worked.values() == []
    await worked.append(value("total", {"lines": [1, 2.5]}), value("stage", "parsing"))
    await worked.append(value("stage", "sent"))
    stage = {"name": "stage", "value": "sent", "event_id": 3, "updated_at": AT}
    total = {"name": "total", "value": {"lines": [1, 2.5]}, "event_id": 1, "updated_at": AT}
    assert await worked.values() == [stage, total]
    await api.complete(worked.path.removeprefix("/runs/"))
    assert await worked.values("?name=stage") == [stage]
    assert await worked.values("?name=unknown") == []
    await api.refused(404, "NOT_FOUND", "GET", "/runs/unknown/values")


@pytest.mark.parametrize(
    ("event", "detail"),
    [
        (progress(fraction=1.5), "Expected float <= 1.0 at $.events[1].value.fraction"),
        (progress(message="x" * 513), "Expected str of length <= 512 at $.events[1].value.message"),
        (progress(fraction="half"), "Expected float | null, got str at $.events[1].value.fraction"),
        (value("", 1), "Expected str of length >= 1 at $.events[1].value.name"),
        (value("n" * 129, 1), "Expected str of length <= 128 at $.events[1].value.name"),
        (
            value("large", "x" * limits.value_bytes_max),
            "Expected at most 16 KiB of JSON at $.events[1].value.value",
        ),
        ({"type": "CUSTOM", "name": "run.value"}, "Object missing required field value at $.events[1]"),
    ],
)
async def test_a_setting_that_is_not_valid_is_refused_with_its_place(api, worked, event, detail):
    problem = await worked.refused(400, "INVALID_REQUEST", progress(fraction=0.5), event)
    assert problem["detail"] == detail
    assert (await api.get(worked.path))["progress"] is None, "an append is all or none"


async def test_the_65th_name_is_refused_and_a_known_one_is_set_again(worked):
    await worked.append(*(value(f"v{number}", number) for number in range(limits.values_per_run_max)))
    problem = await worked.refused(409, "VALUES_FULL", value("more", 1))
    assert problem["detail"].startswith("A run has at most 64 named values: set one of them again")
    await worked.append(value("v0", "again"))
    assert (await worked.values("?name=v0"))[0]["value"] == "again"


async def test_a_repeated_append_sets_nothing_again(api, worked):
    first = [value("stage", "a"), progress(fraction=0.1)]
    await worked.append(*first, expected_previous_event_id=0)
    await worked.append(value("stage", "b"), progress(fraction=0.2))
    answer = await worked.append(*first, expected_previous_event_id=0)
    assert (answer["appended_count"], answer["run"]["progress"]["fraction"]) == (0, 0.2)
    assert (await worked.values())[0]["value"] == "b"


async def test_only_the_holder_of_the_lease_sets_them(api, worked):
    for event in (progress(fraction=0.5), value("stage", 1)):
        await api.refused(403, "EVENT_RESERVED", "POST", f"{worked.path}/events", {"events": [event]})
    assert await worked.values() == []


async def test_a_change_of_progress_is_a_change_of_the_project(api, worked):
    follower = api.app.notifications.follow(api.project.id)
    await anext(follower)
    await worked.append({"type": "CUSTOM", "name": "note"})
    await worked.append(progress(fraction=0.5))
    page = await anext(follower)
    assert [(each.change.type, each.change.status) for each in page.changes] == [("run.updated", "running")]
    await follower.aclose()


# Approvals without a call id


async def approving(api, *approvals, **wait):
    run_id = (await api.create())["run_id"]
    body = {"reason": "approval", "tool_call_id": "pay", "open_approvals": list(approvals), **wait}
    await api.post(f"/runs/{run_id}/wait", body)
    return f"/runs/{run_id}"


async def test_the_only_open_approval_is_answered_without_its_call_id(api):
    run = await approving(api)
    approved = {"type": "approval", "result": True}
    assert await api.post(f"{run}/resume", approved) == {"accepted": True}
    [event] = (await api.get(f"{run}/events"))["data"]
    assert event["payload"]["value"]["tool_call_id"] == "pay"
    again = {**approved, "tool_call_id": "pay"}
    assert await api.post(f"{run}/resume", again) == {"accepted": True, "duplicate": True}
    await api.refused(409, "TOOL_RESULT_NOT_WAITING", "POST", f"{run}/resume", approved)


async def test_several_open_approvals_are_listed_and_each_can_be_answered(api):
    run = await approving(api, "pay", "ship")
    approved = {"type": "approval", "result": True}
    problem = await api.refused(409, "TOOL_RESULT_CONFLICT", "POST", f"{run}/resume", approved)
    assert problem["detail"] == (
        "Several approvals of the run are open: send the tool_call_id of one of pay, ship"
    )
    assert await api.post(f"{run}/resume", {**approved, "tool_call_id": "ship"}) == {"accepted": True}
    assert (await api.get(run))["status"] == "running"


async def test_a_run_that_waits_for_something_else_refuses_an_approval(api):
    run = await approving(api, reason="event")
    problem = await api.refused(
        409, "TOOL_RESULT_CONFLICT", "POST", f"{run}/resume", {"type": "approval", "result": True}
    )
    assert problem["detail"] == "The run waits for reason event; approval does not answer that"
