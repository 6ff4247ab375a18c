"""`runstead webhooks …`, `members …` and `workers …` against a server."""

import time

import pytest


def test_a_webhook_is_created_listed_and_deleted_and_its_secret_shown_once(cli, project_client):
    done = cli("webhooks", "create", "http://127.0.0.1:9/hook", "--event", "run.completed")
    webhook_id, secret = done.lines
    assert secret.startswith("whsec_")
    assert "shown only now" in done.err
    for columns in (60, 80, 200, None):
        shown = cli("webhooks", "list", columns=columns)
        assert webhook_id in shown.out
        assert secret not in shown.out
    assert cli("webhooks", "list", "--json").json[0]["events"] == ["run.completed"]
    assert cli("webhooks", "deliveries", webhook_id).err == "no deliveries\n"
    assert cli("webhooks", "delete", webhook_id).out == f"{webhook_id}  deleted\n"
    assert cli("webhooks", "delete", webhook_id).code == 1


def test_a_delivery_is_listed_and_sent_again(cli, project_client):
    webhook_id = cli("webhooks", "create", "http://127.0.0.1:9/hook").lines[0]
    delivery = project_client.webhooks.test(webhook_id).delivery.id
    until = time.monotonic() + 10
    while (
        project_client.webhooks.list_deliveries(webhook_id).data[0].attempts == 0 and time.monotonic() < until
    ):
        time.sleep(0.02)
    for columns in (60, 80, 200, None):
        shown = cli("webhooks", "deliveries", webhook_id, columns=columns)
        assert delivery in shown.out
        assert "pending" in shown.out
    assert cli("webhooks", "deliveries", webhook_id, "--status", "delivered", "--json").json == []
    assert cli("webhooks", "redeliver", webhook_id, delivery).out.startswith(delivery)


def test_a_webhook_is_changed_and_tested(cli, project_client):
    webhook_id = cli("webhooks", "create", "http://127.0.0.1:9/hook").lines[0]
    options = ("--to", "http://127.0.0.1:9/other", "--event", "run.failed", "--event", "run.waiting")
    expected = f"{webhook_id}  active  http://127.0.0.1:9/other  run.failed,run.waiting\n"
    assert cli("webhooks", "update", webhook_id, *options).out == expected
    delivery = cli("webhooks", "test", webhook_id)
    assert delivery.out == f"{project_client.webhooks.list_deliveries(webhook_id).data[0].id}  pending\n"
    assert not cli("webhooks", "update", webhook_id, "--disable", "--json").json["enabled"]
    refused = cli("webhooks", "test", webhook_id)
    assert (refused.code, "WEBHOOK_DISABLED" in refused.err) == (1, True)
    assert "active" in cli("webhooks", "update", webhook_id, "--enable").out
    assert cli("webhooks", "update", webhook_id).code == 2


def test_a_webhooks_new_secret_is_shown_once(cli, project_client, tmp_path):
    webhook_id, secret = cli("webhooks", "create", "http://127.0.0.1:9/hook").lines
    done = cli("webhooks", "rotate", webhook_id)
    assert done.lines[0] == webhook_id
    assert done.lines[1].startswith("whsec_")
    assert done.lines[1] != secret
    assert "shown only now" in done.err
    (tmp_path / "secret").write_text(f"{secret}\n")
    given = cli("webhooks", "rotate", webhook_id, "--secret", f"@{tmp_path}/secret", "--json").json
    assert given["secret"] == secret
    assert given["webhook"]["old_secret_until"] is not None
    assert "whsec_" not in cli("webhooks", "list", "--json").out
    assert cli("webhooks", "rotate", webhook_id, "--secret", "nonsense").code == 1


def test_members_are_added_listed_and_removed(cli, project):
    assert cli("members", "list").err == "no members\n"
    assert cli("members", "add", "ada", "--role", "admin").out == "ada  admin\n"
    assert cli("members", "add", "bob", "--json").json["role"] == "member"
    assert [line.split()[0] for line in cli("members", "list").lines] == ["USER", "ada", "bob"]
    assert cli("members", "remove", "bob").code == 0
    unknown = cli("members", "remove", "bob")
    assert unknown.code == 1
    assert "NOT_FOUND" in unknown.err
    assert cli("members", "add", "eve", "--role", "owner").code == 2


@pytest.mark.parametrize("columns", [60, 80, 200, None])
def test_workers_are_listed(cli, project_client, columns):
    worker = project_client.workers.register("python", "host-7", display_name="Seven").worker.id
    shown = cli("workers", "list", columns=columns).out
    for word in (worker, "active", "host-7"):
        assert word in shown
    assert cli("workers", "list", "--status", "offline", "--json").json == []
    assert cli("workers", "list", "--limit", "0", "--json").json[0]["id"] == worker
    assert cli("workers", "remove", worker).out == f"{worker}  removed, attempts ended: 0\n"
    assert cli("workers", "list", "--json").json == []
