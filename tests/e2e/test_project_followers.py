"""A server that dies while a client follows a project and starts runs of schedules."""

from contextlib import closing

from runstead.sdk import Client

TARGET = {"kind": "agent", "id": "scribe"}


def test_after_a_kill_a_follower_gets_a_resync_and_a_key_still_returns_its_run(new_server):
    server = new_server().start()
    with Client(server.url, server.key, project="default") as client:
        schedule = client.schedules.create("nightly", TARGET, "30 2 * * *", timezone="Europe/Berlin").schedule
        with closing(client.notifications.follow(after="none")) as following:
            assert next(following).type == "resync"  # it is connected
            first = client.schedules.run(schedule.id, idempotency_key="k")
            received = [next(following) for _ in range(2)]
        assert [one.type for one in received] == ["conversation.updated", "run.created"]
        assert received[1].run_id == first.run_id
    server.kill()
    server.start()
    with Client(server.url, server.key, project="default") as client:
        with closing(client.notifications.follow(after=received[1].cursor)) as following:
            assert next(following).type == "resync"
            client.runs.cancel(first.run_id)
            ended = next(following)
        assert (ended.type, ended.run_id, ended.status) == ("run.completed", first.run_id, "cancelled")
        assert client.schedules.run(schedule.id, idempotency_key="k") == first
        after = client.schedules.get(schedule.id)
        assert (after.run_count, after.health) == (1, None)
        assert [run.run_id for run in client.runs.iter(schedule_id=schedule.id)] == [first.run_id]
