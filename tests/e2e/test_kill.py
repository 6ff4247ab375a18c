"""SIGKILL under load: nothing that was acknowledged is lost, and nothing is stored half."""

import random

import pytest

from tests.support.until import until

from .acknowledged import Ledger
from .integrity import check_whole, intact

KILLS = 10


@pytest.mark.timeout(100)
def test_the_server_is_killed_under_load_again_and_again_and_loses_nothing(new_server):
    server = new_server().start()
    with server.api() as api:
        project_id = api.project_id()
    dice = random.Random(8720)
    ledgers = []
    for kill in range(KILLS):
        ledger = Ledger(server, project_id, f"kill-{kill}", writers=6)
        ledgers.append(ledger)
        enough = dice.randint(10, 120)
        until(lambda: ledger.acknowledged >= enough, "runs completed under load")  # noqa: B023
        server.kill()
        ledger.ended()
        server.start()
        stored = check_whole(server.database)
        for each in ledgers:
            each.check(stored)
        with server.api() as api:
            doubtful = [entry for entry in ledger.entries if entry.doubtful]
            for entry in (*doubtful, *dice.sample(ledger.entries, 5)):
                agrees_over_http(api, entry, stored.get(entry.run_id))
            api.complete(api.create(project_id)["run_id"])
    assert intact(server.database)
    assert sum(ledger.acknowledged for ledger in ledgers) > KILLS * 5
    assert not any(ledger.refusals for ledger in ledgers)
    doubts = {entry.doubtful for ledger in ledgers for entry in ledger.entries}
    print(f"{len(stored)} runs; killed during: {sorted(filter(None, doubts))}")  # noqa: T201 - shown by -rP


def agrees_over_http(api, entry, row):
    if row is None:
        assert api.http.get(f"/runs/{entry.run_id}").status_code == 404
        return
    run, events = api.run(entry.run_id), api.events(entry.run_id)
    assert run["status"] == row["status"]
    assert [event["event_id"] for event in events] == list(range(1, row["latest_event_id"] + 1))
    assert [event["payload"] for event in events][: len(entry.events)] == entry.events
