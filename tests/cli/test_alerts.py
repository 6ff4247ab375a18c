"""`runstead alerts …` against a server."""


def test_a_rule_is_created_listed_muted_tested_and_deleted(cli, project_client):
    webhook_id = cli(
        "webhooks", "create", "http://127.0.0.1:9/hook", "--event", "alert.fired", "--format", "slack"
    ).lines[0]
    assert cli("webhooks", "list", "--json").json[0]["format"] == "slack"
    options = (
        "--target",
        "task:report",
        "--threshold",
        "0.2",
        "--window",
        "2h",
        "--for",
        "5m",
        "--repeat",
        "1h",
    )
    alert_id = cli("alerts", "create", "failure_rate", "--name", "Reports", *options).out.strip()
    for columns in (60, 80, 200, None):
        shown = cli("alerts", "list", columns=columns).out
        assert alert_id in shown
        assert "Reports" in shown
    (rule,) = cli("alerts", "list", "--json").json
    numbers = [rule[name] for name in ("threshold", "window_seconds", "for_seconds", "repeat_seconds")]
    assert numbers == [0.2, 7200, 300, 3600]
    assert cli("alerts", "mute", alert_id).out == f"{alert_id}  ok  Reports  muted for ever\n"
    assert "muted until 2" in cli("alerts", "mute", alert_id, "--until", "2h").out
    assert cli("alerts", "unmute", alert_id).out == f"{alert_id}  ok  Reports\n"
    (delivery,) = cli("alerts", "test", alert_id, "--json").json["deliveries"]
    assert (delivery["webhook_id"], delivery["event_type"]) == (webhook_id, "alert.test")
    assert f"pending  to webhook {webhook_id}" in cli("alerts", "test", alert_id).out
    assert cli("alerts", "history", alert_id).err == "no firings\n"
    assert cli("alerts", "delete", alert_id).out == f"{alert_id}  deleted\n"
    assert cli("alerts", "history", alert_id).code == 1


def test_wrong_options_are_refused(cli, project_client):
    assert cli("alerts", "create", "nothing").code == 2
    assert cli("alerts", "create", "pending_age", "--window", "soon").code == 2
    refused = cli("alerts", "create", "worker_silent", "--target", "task:a")
    assert (refused.code, "take a target" in refused.err) == (1, True)
