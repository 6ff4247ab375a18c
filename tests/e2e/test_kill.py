"""SIGKILL under load: no acknowledged write is lost, and no write is stored partly."""

import random

import pytest

from tests.support.until import until

from .acknowledged import WriteRecorder
from .integrity import check_whole, intact

KILLS = 6


@pytest.mark.timeout(100)
def test_a_server_that_is_killed_under_load_again_and_again_loses_nothing(new_server):
    server = new_server().start()
    with server.api() as api:
        project_id = api.project_id()
    dice = random.Random(8720)
    recorders = []
    for kill in range(KILLS):
        recorder = WriteRecorder(server, project_id, f"kill-{kill}", writers=6)
        recorders.append(recorder)
        enough = dice.randint(10, 100)
        until(lambda: recorder.acknowledged >= enough, "runs completed under load")  # noqa: B023
        server.kill()
        recorder.ended()
        server.start()
        stored = check_whole(server.database)
        for each in recorders:
            each.check(stored)
        with server.api() as api:
            doubtful = [entry for entry in recorder.entries if entry.doubtful]
            for entry in (*doubtful, *dice.sample(recorder.entries, 5)):
                agrees_over_http(api, entry, stored.get(entry.run_id))
            api.complete(api.create(project_id)["run_id"])
    assert intact(server.database)
    assert sum(recorder.acknowledged for recorder in recorders) > KILLS * 5
    assert not any(recorder.refusals for recorder in recorders)
    doubts = {entry.doubtful for recorder in recorders for entry in recorder.entries}
    print(f"{len(stored)} runs; killed during: {sorted(filter(None, doubts))}")  # noqa: T201 - shown by -rP


def agrees_over_http(api, entry, row):
    if row is None:
        assert api.http.get(f"/runs/{entry.run_id}").status_code == 404
        return
    run, events = api.run(entry.run_id), api.events(entry.run_id)
    assert run["status"] == row["status"]
    assert [event["event_id"] for event in events] == list(range(1, row["latest_event_id"] + 1))
    assert [event["payload"] for event in events][: len(entry.events)] == entry.events
