"""Writers that record acknowledged calls, and compare them with the store."""

import json
import threading
from dataclasses import dataclass, field

import httpx2

from tests.support.server import Api, note

BATCH = 3
BATCHES = 3


@dataclass
class Entry:
    """One run as its writer knows it. `doubtful` is a call that was sent and not answered."""

    run_id: str
    target: str
    parent: str | None
    created: bool = False
    attempt: int = 0
    events: list[dict] = field(default_factory=list)
    status: str | None = None
    doubtful: str | None = None
    doubtful_events: list[dict] = field(default_factory=list)


class WriteRecorder:
    """Writers that create, claim and complete runs until the server ends or they are stopped."""

    def __init__(self, server, project_id, name, *, writers=4):
        self._server, self._project_id, self._name = server, project_id, name
        self._stop = threading.Event()
        self.entries: list[Entry] = []
        self.refusals: list[httpx2.Response] = []
        self.failures: list[Exception] = []
        self._threads = [
            threading.Thread(target=self._write, args=(each,), daemon=True) for each in range(writers)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def acknowledged(self) -> int:
        """The number of acknowledged completions."""
        return sum(entry.status is not None for entry in self.entries)

    def stop(self) -> "WriteRecorder":
        """Stop after the current runs."""
        self._stop.set()
        return self.ended()

    def ended(self) -> "WriteRecorder":
        for thread in self._threads:
            thread.join(timeout=30)
            assert not thread.is_alive(), "a writer hangs"
        if self.failures:
            raise self.failures[0]
        return self

    def _write(self, writer):
        number, parent = 0, None
        try:
            with self._server.api() as api:
                worker_id = api.register(f"{self._name}-{writer}")
                while not self._stop.is_set():
                    name = f"{self._name}-{writer}-{number}"
                    entry = Entry(name, f"task:{name}", parent if number % 3 == 1 else None)
                    self.entries.append(entry)
                    self._write_run(api, worker_id, entry, number)
                    parent, number = name, number + 1
        except httpx2.HTTPStatusError as refusal:
            self.refusals.append(refusal.response)
        except httpx2.TransportError:
            pass  # the server was killed: the effect of this call is unknown, and recorded as `doubtful`
        except Exception as failure:  # noqa: BLE001 - shown by ended()
            self.failures.append(failure)

    def _write_run(self, api: Api, worker_id, entry, number):
        entry.doubtful = "create"
        api.create(self._project_id, entry.target, public_id=entry.run_id, parent=entry.parent)
        entry.created, entry.doubtful = True, "claim"
        run = api.claim(worker_id, entry.target)
        assert run["run_id"] == entry.run_id
        entry.attempt, proof = run["attempt"], {"attempt": run["attempt"]}
        for batch in range(BATCHES):
            events = [note(BATCH * batch + place, text=f"{entry.run_id} é {place}") for place in range(BATCH)]
            entry.doubtful, entry.doubtful_events = "append", events
            answer = api.append(entry.run_id, events, expected_previous_event_id=len(entry.events), **proof)
            entry.events += events
            entry.doubtful_events = []
            assert answer["latest_event_id"] == len(entry.events)
        entry.doubtful = "failed" if number % 4 == 3 else "completed"
        answer = api.complete(entry.run_id, entry.doubtful, output={"of": entry.run_id}, **proof)
        assert answer["completed"] is True
        entry.status, entry.doubtful = entry.doubtful, None

    def check(self, stored: dict[str, dict]) -> None:
        """Check that every acknowledged write is stored, and nothing else except doubtful ones."""
        for entry in self.entries:
            run = stored.get(entry.run_id)
            if run is None:
                assert not entry.created, f"{entry.run_id} is lost"
                continue
            _check(entry, run)


def _check(entry: Entry, run: dict) -> None:
    stored = [json.loads(event["payload"]) for event in run["events"] if event["flags"] & 1]
    wanted = [entry.events, entry.events + entry.doubtful_events]
    assert stored in wanted, f"{entry.run_id}: the events are not those that were appended"
    assert run["parent_run_id"] == entry.parent
    if entry.status is not None:
        assert run["status"] == entry.status, f"{entry.run_id}: its completion is lost"
        assert json.loads(run["output"]) == {"of": entry.run_id}
    elif entry.attempt:
        assert run["status"] in {"running", entry.doubtful}, entry.run_id
        assert run["attempt"] == entry.attempt
    else:
        assert run["status"] in {"pending", "running"}, entry.run_id
