"""A server that dies under those who follow a project, and under the schedules that they start runs of."""

from contextlib import closing

from runstead.sdk import Client

TARGET = {"kind": "agent", "id": "scribe"}


def test_after_a_kill_a_follower_is_told_to_read_again_and_a_key_still_gives_its_run(new_server):
    server = new_server().start()
    with Client(server.url, server.key, project="default") as client:
        schedule = client.create_schedule("nightly", TARGET, "30 2 * * *", timezone="Europe/Berlin").schedule
        with closing(client.notifications(after="none")) as following:
            assert next(following).type == "resync"  # it is connected
            first = client.run_schedule(schedule.id, idempotency_key="k")
            told = [next(following) for _ in range(2)]
        assert [one.type for one in told] == ["conversation.updated", "run.created"]
        assert told[1].run_id == first.run_id
    server.kill()
    server.start()
    with Client(server.url, server.key, project="default") as client:
        with closing(client.notifications(after=told[1].cursor)) as following:
            assert next(following).type == "resync"
            client.cancel(first.run_id)
            ended = next(following)
        assert (ended.type, ended.run_id, ended.status) == ("run.completed", first.run_id, "cancelled")
        assert client.run_schedule(schedule.id, idempotency_key="k") == first
        after = client.get_schedule(schedule.id)
        assert (after.run_count, after.health) == (1, None)
        assert [run.run_id for run in client.iter_runs(schedule_id=schedule.id)] == [first.run_id]
