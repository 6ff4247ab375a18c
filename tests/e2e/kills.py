"""Runs of twenty steps whose workers are killed with SIGKILL at random times.

`test_killed_steps.py` runs a short form. The long form: `PYTHONPATH=. python -m tests.e2e.kills --kills 200`.
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

FORKER = Path(__file__).with_name("stepping_worker.py")
STEPS = 20


class Kills:
    """Kills workers, and checks the runs afterwards.

    `release`: the runs of a killed worker are released at once, as by an orchestrator. Without it they are claimed again
    when their leases expire. `life_s` is the range of the random time from a worker's first step to its kill.
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
        self.forker = subprocess.Popen(
            [sys.executable, "-P", FORKER, *arguments],
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._lock = threading.Lock()
        self._alive = set()

    def fork_worker(self):
        with self._lock:
            self.forker.stdin.write("another\n")
            self.forker.stdin.flush()
            pid = int(self.forker.stdout.readline())
            self._alive.add(pid)
        return pid

    def kill(self, pid):
        os.kill(pid, signal.SIGKILL)
        self._alive.discard(pid)
        self.killed.append(f"fork-{pid}")
        if self.release:
            self._release_runs(f"fork-{pid}")

    def _release_runs(self, key):
        mine = {worker.id for worker in self.client.workers.list().data if worker.worker_key == key}
        for run in self.client.runs.list(status="running", limit=100).data:
            if run.lease_owner in mine:
                with suppress(RunsteadError):  # it has just ended
                    self.client.workers.release(
                        run.lease_owner, run.run_id, retry_after_seconds=0, attempt=run.attempt
                    )

    def more_runs(self, many):
        for _ in range(many):
            run = self.client.runs.create("task:twenty", backoff_limit=1_000).run
            self.run_ids.append(run.run_id)

    def run(self, kills, runs):
        """Kill this many workers while there is always work. Then wait until all runs have ended."""
        self.more_runs(runs)

        def kill_workers():
            while len(self.killed) < kills:
                pid = self.fork_worker()
                at_work, until = Path(f"{self.rows}.{pid}"), time.monotonic() + 10
                while not at_work.exists() and time.monotonic() < until:
                    time.sleep(0.005)
                time.sleep(random.uniform(*self.life_s))
                self.kill(pid)

        threads = [threading.Thread(target=kill_workers) for _ in range(self.workers)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            time.sleep(0.1)
            if len(self.client.runs.list(status="pending", limit=100).data) < runs // 4:
                self.more_runs(runs // 4)
        last = [self.fork_worker() for _ in range(2)]
        deadline = time.monotonic() + 600
        while any(self.client.runs.list(status=("pending", "running"), limit=1).data):
            assert time.monotonic() < deadline, "the runs do not end"
            time.sleep(0.1)
        for pid in last:
            os.kill(pid, signal.SIGTERM)
            self._alive.discard(pid)

    def check(self):
        """Compare the runs' logs with the database of the steps' effects, and return counts."""
        rows = sqlite3.connect(self.rows)
        found = Counter(runs=len(self.run_ids), kills=len(self.killed))
        owners = set()
        for run_id in self.run_ids:
            run = self.client.runs.get(run_id)
            assert run.status == "completed", (run_id, run.status, run.error)
            results, order = {}, []
            for event in self.client.events.iter(run_id, event_types=["STEP_FINISHED"]):
                step = int(event.payload["stepName"].removeprefix("step "))
                assert step not in results, f"{run_id}: step {step} was finished twice"
                results[step] = event.payload["result"]
                order.append(step)
            effects = dict(rows.execute("SELECT step, token FROM effects WHERE run_id = ?", (run_id,)))
            assert len(effects) == STEPS
            # The stored result is that of the last call: a finished step is never called again.
            assert effects == results, run_id
            assert run.output == [results[step] for step in range(STEPS)], run_id
            lost = [one for one in self.client.runs.attempts(run_id).data if one.outcome != "completed"]
            owners |= {one.lease_owner for one in lost}
            tries = Counter(
                step for (step,) in rows.execute("SELECT step FROM tries WHERE run_id = ?", (run_id,))
            )
            # A step ran twice only where a worker died between its effect and its record.
            assert sum(tries.values()) - STEPS <= 2 * len(lost), run_id
            found["attempts lost"] += len(lost)
            found["runs hit"] += bool(lost)
            found["steps finished"] += len(results)
            found["run and not yet stored"] += sum(tries.values()) - STEPS
        rows.close()
        found["kills that hit runs"] = len(owners)
        return found

    def close(self):
        for pid in list(self._alive):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.forker.kill()
        self.forker.wait()
        self.client.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--runs", type=int, default=120, help="the number of runs in the queue at the start")
    parser.add_argument("--workers", type=int, default=4, help="the number of workers at a time")
    parser.add_argument("--release", action="store_true", help="release the runs of killed workers at once")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        server = Server(Path(directory), Path(directory) / "runstead.db").start()
        kills = Kills(Path(directory), server, workers=options.workers, release=options.release)
        began = time.monotonic()
        try:
            kills.run(options.kills, options.runs)
            for what, count in kills.check().items():
                sys.stdout.write(f"{what}: {count}\n")
            sys.stdout.write(f"seconds: {time.monotonic() - began:.0f}\n")
        finally:
            kills.close()
            server.kill()


if __name__ == "__main__":
    main()
