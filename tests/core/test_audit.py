"""What the audit log keeps of a change."""

import msgspec
import pytest
from msgspec.structs import replace

from runstead.core import audit, limits
from runstead.core.audit import Audit, ObjectName, by, entries
from runstead.core.identity.principal import Origin, Principal, Scope
from runstead.core.identity.project import ApiKey, Member, RemovedMember
from runstead.core.schedules.trigger import Trigger
from runstead.core.webhooks.webhook import Webhook

WHO = Principal("user", "ada", {}, credential_id="jwt-1", name="Ada", origin=Origin("192.0.2.1", "request-1"))
KEY = ApiKey(
    "k-1", "p-1", "abc", b"hash", frozenset({Scope.ADMIN, Scope.WORKERS}), 1, name="ci", expires_at=0
)
HOOK = Webhook("w-1", "p-1", "https://hooks.test/secret-path", ("*",), "whsec_old", 1, 1)


def change_of(entry):
    return None if entry.change is None else msgspec.json.decode(entry.change)


def test_an_entry_has_the_actor_the_object_and_the_request():
    (entry,) = entries(by(WHO, "key.create", "p-1"), None, KEY, 7)
    assert (entry.project_id, entry.at, entry.action) == ("p-1", 7, "key.create")
    assert (entry.actor_kind, entry.actor_id, entry.actor_name) == ("user", "ada", "Ada")
    assert (entry.credential_id, entry.address, entry.request_id) == ("jwt-1", "192.0.2.1", "request-1")
    assert (entry.object_kind, entry.object_id) == ("key", "k-1")
    after = {
        "prefix": "abc",
        "name": "ci",
        "scopes": ["admin", "workers"],
        "expires_at": "1970-01-01T00:00:00.000Z",
    }
    assert change_of(entry) == {"after": after}


def test_each_project_of_the_action_gets_an_entry():
    found = entries(by(WHO, "session.end", "p-1", "p-2"), Member("p", "bob", "admin", 1), None, 7)
    assert [(entry.project_id, entry.object_id) for entry in found] == [("p-1", "bob"), ("p-2", "bob")]
    assert change_of(found[0]) == {"before": {"role": "admin"}}


def test_nothing_is_recorded_of_a_change_that_nobody_can_see():
    action = by(WHO, "webhook.change", "p-1")
    assert entries(action, HOOK, HOOK, 7) == []
    assert entries(action, HOOK, replace(HOOK, updated_at=9), 7) == []
    assert entries(action, None, None, 7) == []


def test_secrets_and_the_paths_of_urls_are_hidden():
    (entry,) = entries(by(WHO, "webhook.rotate", "p-1"), HOOK, replace(HOOK, secret="whsec_new"), 7)
    assert change_of(entry) == {"before": {"secret": "(hidden)"}, "after": {"secret": "(hidden)"}}
    (moved,) = entries(by(WHO, "webhook.change", "p-1"), HOOK, replace(HOOK, url="http://b.test:81/x?y"), 7)
    assert change_of(moved) == {"before": {"url": "https://hooks.test"}, "after": {"url": "http://b.test:81"}}
    trigger = Trigger("t-1", "p-1", "push", "task:x", b"\xff", 1, 1, secret="s", config=b'{"a":"b"}')
    (created,) = entries(by(WHO, "trigger.create", "p-1"), None, trigger, 7)
    hidden = dict.fromkeys(("token_hash", "secret", "config"), "(hidden)")
    assert change_of(created) == {"after": {"name": "push", "target": "task:x", **hidden}}


def test_details_are_beside_the_members_and_name_the_object_of_an_action_without_a_record():
    action = by(WHO, "session.refuse", "", of=ObjectName("session", ""), reason="x" * 900, omitted=None)
    (entry,) = entries(action, None, None, 7)
    assert (entry.object_kind, entry.object_id) == ("session", "")
    assert change_of(entry) == {"after": {"reason": "x" * limits.audit_value_chars_max + "…"}}


def test_a_change_is_bounded(monkeypatch):
    events = tuple(f"event-{number}-" + "x" * 300 for number in range(100))
    (entry,) = entries(by(WHO, "webhook.change", "p-1"), HOOK, replace(HOOK, events=events), 7)
    assert change_of(entry)["after"]["events"] == "(too large)"
    assert len(entry.change) < limits.audit_change_bytes_max
    monkeypatch.setattr(limits, "audit_change_bytes_max", 1 << 20)
    (entry,) = entries(by(WHO, "webhook.change", "p-1"), HOOK, replace(HOOK, events=events), 7)
    assert len(change_of(entry)["after"]["events"]) == limits.audit_values_max


@pytest.mark.parametrize("record", audit._KINDS, ids=lambda record: record.__name__)
def test_the_members_of_each_record_exist(record):
    """A removal changes a member into a removed one."""
    kind, records = audit._KINDS[record], (record, Member) if record is RemovedMember else (record,)
    for member in kind.members:
        assert any(member in one.__struct_fields__ or hasattr(one, member) for one in records), member


def test_every_action_names_a_kind_and_a_verb():
    kinds = {kind.name for kind in audit._KINDS.values()}
    assert all(action.split(".")[0] in kinds and action.count(".") == 1 for action in audit.ACTIONS)


def test_an_audit_needs_no_principal():
    (entry,) = entries(
        Audit(action="key.revoke", actor_kind="operator", actor_id="root", projects=("p",)), KEY, None, 1
    )
    assert (entry.actor_kind, entry.actor_id, entry.address) == ("operator", "root", None)
