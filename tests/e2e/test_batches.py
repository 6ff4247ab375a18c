"""A server that dies while it cancels a batch, or at the end of a batch with a follow-up run."""

import sqlite3
import threading
from contextlib import closing, suppress

from runstead.sdk import Client, RunsteadError
from tests.support.server import SHORT_LEASE
from tests.support.until import until

RUN = {"kind": "task", "request": {"target": "task:count"}}


def kill_during_cancel(server, batch_id):
    """Kill the server when it has started to cancel the batch. Return how many runs were not cancelled yet."""
    with closing(sqlite3.connect(f"file:{server.database}?mode=ro", uri=True)) as file:
        marked = "SELECT 1 FROM batches WHERE id = ? AND cancel_requested_at IS NOT NULL"
        until(lambda: file.execute(marked, (batch_id,)).fetchone(), "the mark")
        server.kill()
        alive = "SELECT pending FROM batches WHERE id = ?"
        return file.execute(alive, (batch_id,)).fetchone()[0]


def cancel(server, batch_id):
    with suppress(RunsteadError), Client(server.url, server.key, project="default", retries=0) as client:
        client.batches.cancel(batch_id, "enough")


def test_a_cancel_that_a_kill_interrupts_is_completed(new_server):
    server = new_server(limits=SHORT_LEASE).start()
    for _ in range(10):  # until one kill happens during the cancel
        with Client(server.url, server.key, project="default") as client:
            batch_id = client.batches.create([RUN] * 1_000).batch.id
        asking = threading.Thread(target=cancel, args=(server, batch_id))
        asking.start()
        alive = kill_during_cancel(server, batch_id)
        asking.join()
        server.start()
        with Client(server.url, server.key, project="default") as client:
            *_, last = client.batches.follow(batch_id)
            assert (last.status, last.status_counts.cancelled) == ("cancelled", 1_000)
            assert client.batches.get(batch_id).cancel_reason == "enough"
            assert next(client.runs.iter(batch_id=batch_id, status=["pending", "running"]), None) is None
        if alive:
            return
    raise AssertionError("every cancel was done before the server was killed")


def test_the_follow_up_run_of_a_batch_is_created_once_although_the_server_dies(new_server):
    server = new_server(limits=SHORT_LEASE).start()
    with Client(server.url, server.key, project="default") as client:
        made = client.batches.create([RUN] * 2, on_complete={"target": "task:report"})
        for run_id in made.run_ids:
            client.runs.complete(run_id)
    server.kill()
    server.start()
    with Client(server.url, server.key, project="default") as client:
        after = until(lambda: client.batches.get(made.batch.id).on_complete.run_id, "the run that follows")
        assert [run.run_id for run in client.runs.iter(target="task:report")] == [after]
        assert client.runs.get(after).config["batch"]["status_counts"]["completed"] == 2
