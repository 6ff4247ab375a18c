"""Alert rules over HTTP, with a receiver on a real port."""

import pytest

from runstead.core import limits
from runstead.loops.alerts import evaluate

from .test_webhooks import Receiver, verify

pytestmark = pytest.mark.postgres

UNKNOWN = "11111111-1111-4111-8111-111111111111"
FUTURE = "2100-01-04T08:00:00.000Z"


@pytest.fixture
async def receiver(api):
    async with Receiver(api) as made:
        yield made
        await made.deliverer.close()


class Rules:
    """The alert rules of the project, by its admin key."""

    def __init__(self, api):
        self.api = api
        self.path = f"/projects/{api.project.slug}/alerts"

    async def create(self, status=201, by="admin", **body):
        body = {"kind": "pending_age", "threshold": 0.001} | body
        made = await self.api.post(self.path, body, status, by=by)
        return made["alert"] if status == 201 else made

    async def post(self, alert, action, body=..., status=200):
        return await self.api.post(f"{self.path}/{alert['id']}/{action}", body, status, by="admin")

    async def patch(self, alert, status=200, **body):
        answer = await self.api.send("PATCH", f"{self.path}/{alert['id']}", body, by="admin")
        assert answer.status_code == status, answer.text
        return answer.json()

    async def get(self, alert, more=""):
        return await self.api.get(f"{self.path}/{alert['id']}{more}", by="admin")

    async def evaluate(self):
        """Advance the clock until all rules are due, and run the loop once."""
        self.api.clock.advance(limits.alert_interval_s)
        assert await evaluate(self.api.app) > 0


@pytest.fixture
def rules(api):
    return Rules(api)


async def test_a_rule_is_created_with_the_defaults_of_its_kind_listed_changed_and_deleted(rules, api):
    made = await rules.create(kind="failure_rate", target="task:report", threshold=None)
    assert made == {
        **dict.fromkeys(
            ("schedule_id", "webhook_id", "firing_since", "value", "evaluated_at", "muted_until")
        ),
        "id": made["id"],
        "project_id": api.project.id,
        "name": "failure rate: task:report",
        "kind": "failure_rate",
        "target": "task:report",
        "threshold": 0.1,
        "window_seconds": 3600,
        "min_runs": 10,
        "for_seconds": 0,
        "repeat_seconds": 0,
        "enabled": True,
        "firing": False,
        "muted": False,
        **{name: made[name] for name in ("created_by", "created_at", "updated_at")},
    }
    assert await rules.get(made) == made
    changed = (await rules.patch(made, threshold=0.5, name="Reports", enabled=False))["alert"]
    assert (changed["threshold"], changed["name"], changed["enabled"]) == (0.5, "Reports", False)
    assert (await api.get(rules.path, by="admin"))["data"] == [changed]
    gone = await api.send("DELETE", f"{rules.path}/{made['id']}", by="admin")
    assert gone.json() == {"deleted": True}
    assert (await api.send("GET", f"{rules.path}/{made['id']}", by="admin")).status_code == 404


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"kind": "nothing"}, "$.kind"),
        ({"threshold": 0}, "$.threshold"),
        ({"kind": "failure_rate", "threshold": 2}, "$.threshold"),
        ({"kind": "worker_silent", "target": "task:a"}, "$.target"),
        ({"window_seconds": 60}, "$.window_seconds"),
    ],
)
async def test_an_invalid_rule_is_refused_with_its_member(rules, body, path):
    refused = await rules.create(400, **body)
    assert (refused["code"], [one["path"] for one in refused["errors"]]) == ("INVALID_REQUEST", [path])


@pytest.mark.parametrize(
    "named", [{"webhook_id": UNKNOWN}, {"kind": "schedule_missed", "schedule_id": UNKNOWN}]
)
async def test_a_rule_names_only_what_the_project_has(rules, named):
    assert (await rules.create(404, **named))["code"] == "NOT_FOUND"


async def test_another_scope_and_another_project_see_no_rule(rules, api):
    made = await rules.create()
    assert (await api.send("GET", rules.path)).status_code == 403
    assert (await api.send("GET", f"{rules.path}/{made['id']}")).status_code == 403


async def test_a_project_has_so_many_rules(rules, monkeypatch):
    monkeypatch.setattr(limits, "alerts_per_project_max", 1)
    await rules.create()
    assert (await rules.create(409))["code"] == "ALERT_LIMIT_REACHED"


async def test_a_replay_creates_no_second_rule(rules, api):
    body, headers = {"kind": "worker_silent"}, {"Idempotency-Key": "k"}
    first = await api.post(rules.path, body, 201, by="admin", headers=headers)
    assert await api.post(rules.path, body, 201, by="admin", headers=headers) == first
    assert len((await api.get(rules.path, by="admin"))["data"]) == 1


async def test_a_firing_rule_is_listed_first_and_its_message_arrives_signed(rules, receiver, api):
    hook = await receiver.hook("alert.fired", "alert.resolved")
    quiet, mine = await rules.create(threshold=1e9), await rules.create(name="Queue")
    run = await api.create()
    await rules.evaluate()
    await receiver.tick()
    (fired,) = receiver.requests
    body = verify(hook["secret"], fired)
    assert (body["type"], body["data"]["alert_id"], body["data"]["resolved_at"]) == (
        "alert.fired",
        mine["id"],
        None,
    )
    listed = (await api.get(rules.path, by="admin"))["data"]
    assert [(one["id"], one["firing"]) for one in listed] == [(mine["id"], True), (quiet["id"], False)]
    await api.complete(run["run_id"])
    await rules.evaluate()
    await receiver.tick()
    resolved = verify(hook["secret"], receiver.requests[-1])
    assert (resolved["type"], resolved["data"]["firing_id"]) == ("alert.resolved", body["data"]["firing_id"])
    (entry,) = (await rules.get(mine, "/history"))["data"]
    assert (entry["id"], entry["resolved_at"]) == (body["data"]["firing_id"], resolved["data"]["resolved_at"])


async def test_a_failing_destination_is_retried_and_delays_no_other_rule(rules, receiver, api):
    receiver.answers = [(500, {})]
    broken = await receiver.hook("run.failed")
    mine = await rules.create(webhook_id=broken["webhook"]["id"])
    await api.create()
    await rules.evaluate()
    await receiver.tick()
    (delivery,) = await receiver.log(broken)
    assert (delivery["event_type"], delivery["status"], delivery["attempts"]) == ("alert.fired", "pending", 1)
    other = await receiver.hook("alert.fired")
    second = await rules.create()
    await rules.evaluate()
    await receiver.tick()
    assert [one["status"] for one in await receiver.log(other)] == ["delivered"]
    assert (await rules.get(mine))["firing"]
    assert (await rules.get(second))["firing"]


@pytest.mark.parametrize(
    ("name", "content_type"),
    [("slack", "application/json"), ("cloudevents", "application/cloudevents+json; charset=utf-8")],
)
async def test_a_webhook_of_another_format_gets_its_body_for_alerts_runs_and_tests(
    rules, receiver, api, name, content_type
):
    hook = await receiver.hook(format=name)
    assert hook["webhook"]["format"] == name
    made = await rules.create()
    await rules.post(made, "test", status=202)
    await api.post(f"{receiver.path}/{hook['webhook']['id']}/test", status=202, by="admin")
    run_id = await receiver.finish()
    await receiver.tick()
    types = ["alert.test", "webhook.test", "run.completed"]
    bodies = [request.body for request in receiver.requests]
    assert {request.headers["content-type"] for request in receiver.requests} == {content_type}
    if name == "slack":
        assert [sorted(body) for body in bodies] == [["text"]] * 3
        assert any(run_id in body["text"] for body in bodies)
    else:
        assert sorted(body["type"] for body in bodies) == sorted(types)
        for request in receiver.requests:
            verify(hook["secret"], request)
            assert request.body["id"] == request.headers["webhook-id"]
            assert request.body["source"] == f"/projects/{api.project.id}"


async def test_a_test_goes_to_each_receiver_and_is_refused_without_one(rules, receiver):
    made = await rules.create()
    assert (await rules.post(made, "test", status=409))["code"] == "ALERT_HAS_NO_WEBHOOK"
    hooks = [await receiver.hook("alert.fired"), await receiver.hook("*")]
    await rules.post(made, "mute", {})
    sent = (await rules.post(made, "test", status=202))["deliveries"]
    assert {one["webhook_id"] for one in sent} == {hook["webhook"]["id"] for hook in hooks}
    assert {one["event_type"] for one in sent} == {"alert.test"}
    await rules.patch(made, webhook_id=hooks[0]["webhook"]["id"])
    assert len((await rules.post(made, "test", status=202))["deliveries"]) == 1
    assert (await rules.patch(made, webhook_id=None))["alert"]["webhook_id"] is None


async def test_a_rule_is_muted_until_a_time_or_for_ever_and_unmuted(rules, receiver, api):
    hook = await receiver.hook("alert.fired")
    made = await rules.create()
    assert (await rules.post(made, "mute", {"until": "2001-01-01T00:00:00Z"}, 400))[
        "code"
    ] == "INVALID_REQUEST"
    muted = (await rules.post(made, "mute", {"until": FUTURE}))["alert"]
    assert (muted["muted"], muted["muted_until"]) == (True, FUTURE)
    for_ever = (await rules.post(made, "mute", {}))["alert"]
    assert (for_ever["muted"], for_ever["muted_until"]) == (True, None)
    await api.create()
    await rules.evaluate()
    assert (await rules.get(made))["firing"]
    assert await receiver.log(hook) == []
    (entry,) = (await rules.get(made, "/history"))["data"]
    assert entry["muted"]
    unmuted = await api.send("DELETE", f"{rules.path}/{made['id']}/mute", by="admin")
    assert not unmuted.json()["alert"]["muted"]


async def test_the_history_has_pages_and_refuses_a_foreign_cursor(rules, api):
    made = await rules.create()
    for _ in range(3):
        run = await api.create()
        await rules.evaluate()
        await api.complete(run["run_id"])
        await rules.evaluate()
    first = await rules.get(made, "/history?limit=2")
    rest = await rules.get(made, f"/history?limit=2&cursor={first['page_info']['next']}")
    assert [len(first["data"]), len(rest["data"]), rest["page_info"]["next"]] == [2, 1, None]
    times = [one["fired_at"] for one in first["data"] + rest["data"]]
    assert times == sorted(times, reverse=True)
    refused = await api.send("GET", f"{rules.path}/{made['id']}/history?cursor=x", by="admin")
    assert refused.status_code == 400


async def test_the_loop_evaluates_a_new_rule_at_once_and_then_by_its_interval(rules, api):
    made = await rules.create(kind="worker_silent", threshold=1)
    assert await evaluate(api.app) == 1
    assert (await rules.get(made))["value"] == 0
    api.clock.advance(limits.alert_interval_s - 1)
    assert await evaluate(api.app) == 0
    api.clock.advance(1)
    assert await evaluate(api.app) == 1
