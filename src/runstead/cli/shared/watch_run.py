"""Follows one run to its end."""

import threading
from collections.abc import Callable
from datetime import datetime
from typing import Final

from runstead.cli.shared.connection import ServerOptions, connected
from runstead.cli.shared.exit_codes import exit_code
from runstead.cli.shared.output import write_out
from runstead.cli.shared.render import Screen, document
from runstead.cli.shared.transcript import Transcript
from runstead.cli.shared.wait_lines import is_answered, read_time, step_of_call
from runstead.sdk import Client, RunsteadError
from runstead.sdk.models.event import Event
from runstead.sdk.models.run import Run

_POLL_S: Final = 1.0


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
    poller = threading.Thread(
        target=_poll_waits, args=(client, run_id, transcript.waiting, over), daemon=True
    )
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


def _poll_waits(client: Client, run_id: str, on_wait: Callable[[Run], None], over: threading.Event) -> None:
    """Report waits: poll the run, as not every wait has an event."""
    while not over.wait(_POLL_S):
        try:
            run = client.runs.get(run_id)
        except (RunsteadError, RuntimeError):  # the follower reports it, or has closed the client
            continue
        if run.status == "waiting" and not over.is_set():
            on_wait(run)


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
