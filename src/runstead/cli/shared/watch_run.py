"""Follows one run to its end."""

import threading
from datetime import datetime
from typing import Final

from runstead.cli.shared.connection import ServerOptions, connected
from runstead.cli.shared.exit_codes import exit_code
from runstead.cli.shared.output import write_out
from runstead.cli.shared.render import Screen, document
from runstead.cli.shared.transcript import Transcript
from runstead.cli.shared.wait_lines import is_answered, read_time, step_of_call, waited_child
from runstead.sdk import Client, RunsteadError
from runstead.sdk.models.event import Event
from runstead.sdk.models.run import Run

_POLL_S: Final = 1.0
#: A run that is pending in so many polls is not about to be claimed.
_POLLS_PENDING: Final = 3
#: How many generations of runs that wait for a child are read.
_CHILDREN_MAX: Final = 8


def watch_run(server: ServerOptions, run_id: str, *, json: bool, family: bool = False) -> int:
    """Print the run's events until it has ended. Return the exit code for its outcome."""
    with connected(server) as client:  # report a wrong server or run id at once, without retries
        client.runs.get(run_id)
    with connected(server, patient=True) as client:
        if json:
            for event in client.events.follow(run_id, include_descendants=family):
                write_out(document(event), flush=True)
            return exit_code(client.runs.get(run_id).status)
        transcript = Transcript(run_id, lambda text: write_out(text, end="", flush=True), Screen.of())
        return _print_events(client, run_id, transcript, family=family)


def _print_events(client: Client, run_id: str, transcript: Transcript, *, family: bool) -> int:
    over = threading.Event()
    poller = threading.Thread(target=_poll, args=(client, run_id, transcript, over), daemon=True)
    poller.start()
    try:
        for event in client.events.follow(run_id, include_descendants=family):
            transcript.event(event)
    finally:
        over.set()
        transcript.close()
    run = client.runs.get(run_id)
    transcript.ended(run)
    return exit_code(run.status)


def _poll(client: Client, run_id: str, transcript: Transcript, over: threading.Event) -> None:
    """Report waits, also those of the child that the run waits for, and that no worker serves the run.

    The run is polled, as not every wait has an event.
    """
    polls_pending = 0
    while not over.wait(_POLL_S):
        try:
            run = client.runs.get(run_id)
            polls_pending = polls_pending + 1 if run.status == "pending" else 0
            if polls_pending == _POLLS_PENDING and not run.paused:
                _report_not_served(client, run, transcript)
            if run.status == "waiting" and not over.is_set():
                transcript.waiting(run)
                report_child(client, run, transcript)
        except (RunsteadError, RuntimeError):  # the follower reports it, or has closed the client
            continue


def _report_not_served(client: Client, run: Run, transcript: Transcript) -> None:
    """Report a pending run whose target no active worker serves. A worker without targets may serve it."""
    targets: set[str] = set()
    for worker in client.workers.iter(status="active", project=run.project_id):
        serves = worker.metadata.get("targets") if isinstance(worker.metadata, dict) else None
        if not isinstance(serves, list):
            return
        targets.update(map(str, serves))
    if run.kind != "agent" and run.target not in targets:
        transcript.not_served(run, targets)


def report_child(client: Client, run: Run, transcript: Transcript) -> None:
    """Report what the child, or its child, waits for."""
    for _ in range(_CHILDREN_MAX):
        child = waited_child(run)
        if child is None or run.status != "waiting":
            break
        run = client.runs.get(child)
        if run.status == "waiting" and waited_child(run) is None and transcript.is_new_wait(run):
            transcript.child_waiting(run, _question(client, run))


def _question(client: Client, run: Run) -> str | None:
    """The question of the approval that the run waits for."""
    if run.waiting_reason != "approval":
        return None
    question: str | None = None
    for event in client.events.iter(run.run_id, event_types=["CUSTOM"]):
        value = event.payload.get("value")
        if event.payload.get("name") == "run.asked" and isinstance(value, dict):
            found = value.get("tool_call_id") == run.waiting_tool_call_id and value.get("question")
            question = found if isinstance(found, str) else question
    return question


def wait_end(client: Client, run: Run) -> datetime | None:
    """When the approval or the event that the run waits for expires; None without a timeout.

    The run's own time may be that of another branch of the handler, so the start of the wait is read.
    """
    if run.status != "waiting" or run.resume_at is None or not is_answered(run):
        return None
    step = step_of_call(run.waiting_tool_call_id or "")
    for event in client.events.iter(run.run_id, event_types=["STEP_STARTED"]):
        if event.payload.get("stepId") == step:
            return read_time(event.payload.get("until"))
    return None


def log_lines(event: Event) -> str | None:
    """The log lines in an event; None for any other event."""
    value = event.payload.get("value")
    if (
        event.payload.get("name") == "run.log"
        and isinstance(value, dict)
        and isinstance(value.get("lines"), str)
    ):
        return str(value["lines"]).rstrip("\n")
    return None
