"""Runs of twenty steps, and workers that are killed with SIGKILL at random moments, until so many were.

`test_killed_steps.py` has it done for a moment. At length, from the directory of the tests:
`python -m e2e.kills --kills 200`.
"""

import argparse
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

from runstead.sdk import Client, RunsteadError
from tests.support.server import PROJECT, Server, environment

NURSERY = Path(__file__).with_name("stepping_worker.py")
STEPS = 20


class Kills:
    """`release`: whoever kills a worker gives its runs back, as an orchestrator may that has seen it die. Without, the
    server finds out itself when the leases end. `life_s`: how long a worker lives, at random, once it is at work.
    """

    def __init__(self, directory, server, *, workers=3, concurrency=6, release, life_s=(0.0, 1.0)):
        self.server, self.rows = server, directory / "rows.db"
        self.workers, self.release, self.life_s = workers, release, life_s
        self.client = Client(server.url, server.key, project=PROJECT)
        self.run_ids = []
        self.killed = []  # worker keys
        with sqlite3.connect(self.rows) as rows:
            rows.execute("PRAGMA journal_mode = WAL")
            rows.execute("CREATE TABLE tries (run_id, step, attempt, token)")
            rows.execute("CREATE TABLE effects (run_id, step, token, PRIMARY KEY (run_id, step))")
        arguments = [server.url, server.key, PROJECT, str(self.rows), str(concurrency), "5"]
        self.nursery = subprocess.Popen(
            [sys.executable, "-P", NURSERY, *arguments],
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._lock = threading.Lock()
        self._alive = set()

    def born(self):
        with self._lock:
            self.nursery.stdin.write("another\n")
            self.nursery.stdin.flush()
            pid = int(self.nursery.stdout.readline())
            self._alive.add(pid)
        return pid

    def kill(self, pid):
        os.kill(pid, signal.SIGKILL)
        self._alive.discard(pid)
        self.killed.append(f"fork-{pid}")
        if self.release:
            self._give_back(f"fork-{pid}")

    def _give_back(self, key):
        mine = {worker.id for worker in self.client.list_workers().data if worker.worker_key == key}
        for run in self.client.list_runs(status="running", limit=100).data:
            if run.lease_owner in mine:
                with suppress(RunsteadError):  # it has just ended
                    self.client.release(
                        run.lease_owner, run.run_id, retry_after_seconds=0, attempt=run.attempt
                    )

    def more_runs(self, many):
        for _ in range(many):
            run = self.client.create_task_run("task:twenty", backoff_limit=1_000).run
            self.run_ids.append(run.run_id)

    def many(self, kills, runs):
        """Kill so many, while there is always work; then let all runs come to their end."""
        self.more_runs(runs)

        def one_place():
            while len(self.killed) < kills:
                pid = self.born()
                at_work, until = Path(f"{self.rows}.{pid}"), time.monotonic() + 10
                while not at_work.exists() and time.monotonic() < until:
                    time.sleep(0.005)
                time.sleep(random.uniform(*self.life_s))
                self.kill(pid)

        places = [threading.Thread(target=one_place) for _ in range(self.workers)]
        for place in places:
            place.start()
        while any(place.is_alive() for place in places):
            time.sleep(0.1)
            if len(self.client.list_runs(status="pending", limit=100).data) < runs // 4:
                self.more_runs(runs // 4)
        last = [self.born() for _ in range(2)]
        deadline = time.monotonic() + 600
        while any(self.client.list_runs(status=("pending", "running"), limit=1).data):
            assert time.monotonic() < deadline, "the runs do not end"
            time.sleep(0.1)
        for pid in last:
            os.kill(pid, signal.SIGTERM)
            self._alive.discard(pid)

    def verdict(self):
        """Counts, after every claim was checked against the log and the rows."""
        rows = sqlite3.connect(self.rows)
        found = Counter(runs=len(self.run_ids), kills=len(self.killed))
        owners = set()
        for run_id in self.run_ids:
            run = self.client.get_run(run_id)
            assert run.status == "completed", (run_id, run.status, run.error)
            kept, order = {}, []
            for event in self.client.events(run_id, event_types=["STEP_FINISHED"]):
                step = int(event.payload["stepName"].removeprefix("step "))
                assert step not in kept, f"{run_id}: step {step} was kept twice"
                kept[step] = event.payload["result"]
                order.append(step)
            effects = dict(rows.execute("SELECT step, token FROM effects WHERE run_id = ?", (run_id,)))
            assert len(effects) == STEPS
            # What was kept is what the last try did: once kept, a step was never done again.
            assert effects == kept, run_id
            assert run.output == [kept[step] for step in range(STEPS)], run_id
            lost = [one for one in self.client.attempts(run_id).data if one.outcome != "completed"]
            owners |= {one.lease_owner for one in lost}
            tries = Counter(
                step for (step,) in rows.execute("SELECT step FROM tries WHERE run_id = ?", (run_id,))
            )
            # Done twice only where a worker died between the deed and its record.
            assert sum(tries.values()) - STEPS <= 2 * len(lost), run_id
            found["attempts lost"] += len(lost)
            found["runs hit"] += bool(lost)
            found["steps kept"] += len(kept)
            found["done and not yet kept"] += sum(tries.values()) - STEPS
        rows.close()
        found["kills that hit runs"] = len(owners)
        return found

    def close(self):
        for pid in list(self._alive):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.nursery.kill()
        self.nursery.wait()
        self.client.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--runs", type=int, default=120, help="how many wait for workers at the start")
    parser.add_argument("--workers", type=int, default=4, help="how many work at a time")
    parser.add_argument("--release", action="store_true", help="give the runs of killed workers back at once")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        server = Server(Path(directory), Path(directory) / "runstead.db").start()
        kills = Kills(Path(directory), server, workers=asked.workers, release=asked.release)
        began = time.monotonic()
        try:
            kills.many(asked.kills, asked.runs)
            for what, count in kills.verdict().items():
                sys.stdout.write(f"{what}: {count}\n")
            sys.stdout.write(f"seconds: {time.monotonic() - began:.0f}\n")
        finally:
            kills.close()
            server.kill()


if __name__ == "__main__":
    main()
