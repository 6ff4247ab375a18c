"""The audit log: every audited action leaves one entry, in the transaction of its effect."""

import msgspec
import pytest

from runstead.commands import browser_sessions
from runstead.core import limits
from runstead.core.audit import ACTIONS, NO_PROJECT
from runstead.core.identity.principal import Origin
from runstead.engines.sql import audit as engine
from runstead.http.framework.app import operations
from runstead.http.framework.endpoint import Call
from runstead.ports.store import AuditQuery

from .audited import PATH, PRICE, WEBHOOK, Audited

pytestmark = pytest.mark.postgres


@pytest.fixture
async def audited(api):
    made = Audited(api)
    yield made
    await made.web.aclose()


async def perform(audited, action):
    """Perform an action and return its entries with the kind and the id of the object."""
    steps = getattr(audited, action.replace(".", "_"))()
    await anext(steps)
    kind_and_id = await anext(steps)
    return await audited.entries(action=action), kind_and_id


@pytest.mark.parametrize("action", sorted({*ACTIONS} - {"project.create"}))
async def test_an_action_leaves_one_entry(audited, action):
    found, (kind, object_id) = await perform(audited, action)
    (entry,) = found
    assert (entry["action"], entry["object"]) == (action, {"kind": kind, "id": object_id})
    if action == "session.refuse":
        assert (entry["actor"], entry["credential_id"]) == (
            {"kind": "unknown", "id": "", "name": None},
            object_id,
        )
    else:
        assert entry["actor"]["kind"] == "api_key"
        assert entry["actor"]["id"] == await audited.key_id("system" if action == "quota.put" else "admin")
    sent = audited.response.headers.get("x-request-id") if audited.response is not None else None
    assert entry["request_id"] in (sent, "request-of-the-test")
    assert entry["at"].endswith("Z")
    assert len(entry["id"]) == 32
    assert entry["change"] is not None
    assert "hidden" not in msgspec.json.encode(entry).decode().replace("(hidden)", "")


async def test_a_new_project_has_its_creation_in_its_log(audited):
    made = await audited.send("POST", "/projects", {"slug": "next"}, by="system")
    (entry,) = await audited.entries(f"/projects/{made['id']}/audit", by=made["api_key"])
    assert (entry["action"], entry["object"]) == ("project.create", {"kind": "project", "id": made["id"]})
    assert entry["actor"]["kind"] == "api_key"
    assert entry["change"]["after"] == {"slug": "next", "name": "next", "require_attempt": False}
    assert await audited.entries() == []


async def test_an_entry_shows_the_members_that_differ(audited):
    await audited.send("PUT", "/projects/inventory/prices", PRICE)
    await audited.send("PUT", "/projects/inventory/prices", {**PRICE, "input": 5})
    (changed, created) = await audited.entries()
    assert created["change"] == {"before": {}, "after": {"input": 1, "output": 2}}
    assert changed["change"] == {"before": {"input": 1}, "after": {"input": 5}}


async def test_an_approval_shows_the_decision_and_its_person(audited):
    ada = await audited.api.member("ada")
    run_id = await audited.waiting()
    body = {"type": "approval", "tool_call_id": "deploy", "result": {"approved": False, "why": "private"}}
    await audited.api.post(f"/runs/{run_id}/resume", body, by=ada)
    (entry,) = await audited.entries()
    assert (entry["actor"]["kind"], entry["actor"]["id"]) == ("user", "ada")
    after = entry["change"]["after"]
    assert (after["type"], after["approved"], after["tool_call_id"]) == ("approval", False, "deploy")
    assert "private" not in str(entry)


async def test_secrets_are_hidden_and_values_are_bounded(audited):
    await audited.send("POST", "/projects/inventory/webhooks", WEBHOOK)
    run_id = (await audited.api.create())["run_id"]
    await audited.send("POST", f"/runs/{run_id}/cancel", {"reason": "x" * 900})
    cancel, webhook = await audited.entries()
    assert webhook["change"]["after"]["secret"] == "(hidden)"
    assert webhook["change"]["after"]["url"] == "https://hooks.test"
    assert len(cancel["change"]["after"]["cancel_reason"]) == limits.audit_value_chars_max + 1


async def test_a_request_without_effect_leaves_no_entry(audited):
    run_id = (await audited.api.create())["run_id"]
    for _ in range(2):
        await audited.send("POST", f"/runs/{run_id}/cancel")
        await audited.send("POST", "/projects/inventory/members", {"user_id": "ada"})
        await audited.send("PUT", "/projects/inventory/prices", PRICE)
    assert [entry["action"] for entry in await audited.entries()] == ["price.put", "member.put", "run.cancel"]


async def test_a_refused_request_leaves_no_entry(audited):
    api, run_id = audited.api, await audited.waiting()
    resume = {"type": "approval", "tool_call_id": "other", "result": True}
    await api.refused(409, "TOOL_RESULT_CONFLICT", "POST", f"/runs/{run_id}/resume", resume, by="admin")
    await api.refused(403, "FORBIDDEN", "POST", f"/runs/{run_id}/cancel", by="read")
    await api.refused(409, "RUN_NOT_TERMINAL", "DELETE", f"/runs/{run_id}", by="admin")
    await api.refused(409, "RUN_NOT_TERMINAL", "POST", f"/runs/{run_id}/retry", by="admin")
    await api.refused(403, "FORBIDDEN", "POST", "/projects/inventory/api-keys", {}, by="write")
    await api.refused(403, "FORBIDDEN", "DELETE", "/projects/inventory/members/ada", by="write")
    await api.refused(
        400, "INVALID_REQUEST", "PUT", "/projects/inventory/prices", {**PRICE, "input": -1}, by="admin"
    )
    assert await audited.entries() == []


async def test_a_replayed_request_leaves_one_entry(audited):
    run_id = await audited.waiting()
    headers = {"Idempotency-Key": "once"}
    for _ in range(2):
        await audited.send("POST", f"/runs/{run_id}/cancel", headers=headers)
        assert (
            await audited.send(
                "POST",
                "/projects/inventory/members",
                {"user_id": "ada"},
                headers={"Idempotency-Key": "twice"},
            )
        )["user_id"] == "ada"
    assert audited.response.headers["idempotent-replayed"] == "true"
    assert len(await audited.entries()) == 2


def unstorable(monkeypatch):
    """The database refuses every entry."""
    add = engine.add_entries
    broken = lambda new: add([msgspec.structs.replace(entry, action=None) for entry in new])  # noqa: E731
    monkeypatch.setattr(engine, "add_entries", broken)
    monkeypatch.setattr("runstead.engines.sqlite.related.add_entries", broken)
    monkeypatch.setattr("runstead.engines.postgres.related.add_entries", broken)


async def test_an_entry_that_cannot_be_stored_takes_its_effect_with_it(audited, monkeypatch):
    api, run_id = audited.api, await audited.waiting()
    deleted = await audited.ended()
    with monkeypatch.context() as patched:
        unstorable(patched)
        answers = [
            await api.send("POST", f"/runs/{run_id}/cancel", by="admin"),
            await api.send("DELETE", f"/runs/{deleted}", by="admin"),
            await api.send("POST", "/projects/inventory/members", {"user_id": "ada"}, by="admin"),
            await api.send("POST", "/projects/inventory/webhooks", WEBHOOK, by="admin"),
        ]
    assert {answer.status_code for answer in answers} <= {500, 503}
    assert (await api.run(run_id))["status"] == "waiting"
    assert (await api.run(deleted))["status"] == "failed"
    assert (await api.get("/projects/inventory/members"))["data"] == []
    assert (await api.get("/projects/inventory/webhooks", by="admin"))["data"] == []
    assert await audited.entries() == []


async def test_an_effect_that_is_rolled_back_takes_its_entry_with_it(audited, monkeypatch):
    """The transaction fails after the entry was written: while the answer for the Idempotency-Key is stored."""
    api, run_id = audited.api, await audited.waiting()

    def broken(_result):
        raise ZeroDivisionError

    record = Call._idempotency_record

    def failing(self, key, answer, secret):
        return msgspec.structs.replace(record(self, key, answer, secret), render=broken)

    with monkeypatch.context() as patched:
        patched.setattr(Call, "_idempotency_record", failing)
        for path, body in (
            (f"/runs/{run_id}/cancel", {}),
            ("/projects/inventory/members", {"user_id": "ada"}),
        ):
            answer = await api.send("POST", path, body, by="admin", headers={"Idempotency-Key": path})
            assert answer.status_code >= 500
    assert (await api.run(run_id))["status"] == "waiting"
    assert (await api.get("/projects/inventory/members"))["data"] == []
    assert await audited.entries() == []


async def test_the_work_of_workers_leaves_no_entry(audited):
    run, worker = await audited.api.claimed()
    await audited.api.append(run["run_id"], {"type": "CUSTOM", "name": "note", "value": 1})
    await audited.api.post(f"{worker}/heartbeat")
    await audited.api.complete(run["run_id"])
    assert await audited.entries() == []


async def test_only_the_scope_audit_read_reads_the_log(audited):
    api = audited.api
    for by in ("read", "write", "workers", "default"):
        await api.refused(403, "FORBIDDEN", "GET", PATH, by=by)
    made = await audited.send("POST", "/projects/inventory/api-keys", {"scopes": ["audit:read"]})
    (entry,) = await audited.entries(by=made["key"])
    assert entry["change"]["after"]["scopes"] == ["audit:read"]
    await api.refused(403, "FORBIDDEN", "GET", "/projects/inventory/runs", by=made["key"])
    viewer, admin = await api.member("vic", role="viewer"), await api.member("ada", role="admin")
    await api.refused(403, "FORBIDDEN", "GET", PATH, by=viewer)
    assert len(await audited.entries(by=admin)) == 1


async def test_a_project_reads_its_own_entries_only(audited):
    api = audited.api
    await audited.send("PUT", "/projects/inventory/prices", PRICE)
    await api.refused(404, "NOT_FOUND", "GET", PATH, by="other")
    await api.send("PUT", "/projects/elsewhere/prices", PRICE, by="other")
    (mine,) = await audited.entries()
    (theirs,) = await audited.entries("/projects/elsewhere/audit", by="other")
    assert mine["id"] != theirs["id"]
    for name, value in (
        ("actor", theirs["actor"]["id"]),
        ("object", "price:acme/m-1"),
        ("action", "price.put"),
    ):
        assert theirs not in await audited.entries(**{name: value})


async def test_no_route_changes_or_deletes_entries(api):
    assert [(each.method, each.path) for each in operations() if "/audit" in each.path] == [
        ("GET", "/projects/{project}/audit")
    ]
    await api.refused(405, "METHOD_NOT_ALLOWED", "DELETE", PATH, by="admin")


async def test_pages_hold_every_entry_once_while_entries_are_added(audited):
    for number in range(7):
        await audited.send("PUT", "/projects/inventory/prices", {**PRICE, "input": number + 10})
        if number % 3 == 2:
            audited.api.clock.advance(1)  # several entries have the same time
    seen, cursor = [], None
    while True:
        query = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        answer = (await audited.api.send("GET", PATH, by="admin", params=query)).json()
        seen += [entry["change"]["after"]["input"] for entry in answer["data"]]
        assert answer["page_info"]["self"] == cursor
        await audited.send("POST", "/projects/inventory/members", {"user_id": f"user-{len(seen)}"})
        cursor = answer["page_info"]["next"]
        if cursor is None:
            break
    assert seen == [16, 15, 14, 13, 12, 11, 10]


@pytest.mark.parametrize("cursor", ["", "x", "1", "1-", "-1", "1-2-3", "1" * 16 + "-1", "1-1\n"])
async def test_a_malformed_cursor_is_refused(driver, cursor):
    await driver.refused(400, "INVALID_REQUEST", "GET", PATH, by="admin", params={"cursor": cursor})


async def test_filters(audited):
    api, key_id = audited.api, await audited.key_id()
    ada = await api.member("ada", role="admin")
    await audited.send("PUT", "/projects/inventory/prices", PRICE)
    api.clock.advance(10)
    run_id = (await api.create())["run_id"]
    await api.post(f"/runs/{run_id}/cancel", by=ada)
    api.clock.advance(10)
    await api.send("DELETE", "/projects/inventory/prices?provider=acme&model=m-1", by=ada)
    entries = await audited.entries()
    assert [entry["action"] for entry in entries] == ["price.delete", "run.cancel", "price.put"]
    last, middle, first = entries
    for query, expected in (
        ({"actor": "ada"}, [last, middle]),
        ({"actor": key_id}, [first]),
        ({"action": "run.cancel"}, [middle]),
        ({"object": "price"}, [last, first]),
        ({"object": "price:acme/m-1"}, [last, first]),
        ({"object": f"run:{run_id}"}, [middle]),
        ({"object": "price:acme/m-1", "actor": "ada"}, [last]),
        ({"actor": "ada", "action": "price.delete"}, [last]),
        ({"action": "run.cancel", "object": "price"}, []),
        ({"after": first["at"]}, [last, middle]),
        ({"before": last["at"]}, [middle, first]),
        ({"after": first["at"], "before": last["at"]}, [middle]),
        ({"actor": "grace"}, []),
    ):
        assert await audited.entries(**query) == expected, query
    await api.refused(400, "INVALID_REQUEST", "GET", PATH, by="admin", params={"action": "run.destroy"})
    await api.refused(400, "INVALID_REQUEST", "GET", PATH, by="admin", params={"after": "yesterday"})


async def test_a_failed_sign_in_with_an_unknown_key_belongs_to_no_project(audited):
    assert (await audited.sign_in("vf_guess_" + "0" * 64)).status_code == 401
    assert await audited.entries() == []
    (entry,) = await audited.api.store.audit.page(AuditQuery(NO_PROJECT, 10))
    assert (entry.action, entry.actor_kind, entry.object_kind) == ("session.refuse", "unknown", "session")
    assert b"unknown or revoked" in entry.change
    assert b"guess" not in entry.change


async def test_many_failed_sign_ins_leave_few_entries_that_count_the_others(audited, monkeypatch):
    """From many addresses: those of one address are throttled."""
    app = audited.api.app
    seconds = 0.0
    monkeypatch.setattr(app.refused_sign_ins, "_clock", lambda: seconds)
    for number in range(limits.refused_sign_ins_per_minute_max + 5):
        await browser_sessions.record_refusal(app, "guess", "unknown", Origin(f"192.0.2.{number}", None))
    seconds = 61.0
    await browser_sessions.record_refusal(app, "guess", "unknown", Origin("192.0.2.1", None))
    found = await app.store.audit.page(AuditQuery(NO_PROJECT, 100))
    assert len(found) == limits.refused_sign_ins_per_minute_max + 1
    assert msgspec.json.decode(found[0].change)["after"]["omitted"] == 5
