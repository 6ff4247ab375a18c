"""Following one run to its end."""

import threading
from collections.abc import Callable
from typing import Final

from runstead.cli.shared.connection import Reach, connected
from runstead.cli.shared.exit_codes import exit_code
from runstead.cli.shared.output import say
from runstead.cli.shared.render import Screen, document
from runstead.cli.shared.transcript import Transcript
from runstead.sdk import Client, Event, Run, RunsteadError

_LOOK_S: Final = 1.0


def watch_run(reach: Reach, run_id: str, *, json: bool, family: bool = False) -> int:
    """Show the run's events until it has ended; the exit code that its outcome stands for."""
    with connected(reach) as client:  # who is wrong about the server or the run learns it at once
        client.get_run(run_id)
    with connected(reach, patient=True) as client:
        if json:
            for event in client.follow(run_id, include_descendants=family):
                say(document(event), flush=True)
            return exit_code(client.get_run(run_id).status)
        transcript = Transcript(run_id, lambda text: say(text, end="", flush=True), Screen.of())
        return _told(client, run_id, transcript, family=family)


def _told(client: Client, run_id: str, transcript: Transcript, *, family: bool) -> int:
    over = threading.Event()
    looking = threading.Thread(target=_look, args=(client, run_id, transcript.waiting, over), daemon=True)
    looking.start()
    try:
        for event in client.follow(run_id, include_descendants=family):
            transcript.event(event)
    finally:
        over.set()
        transcript.leave()
    run = client.get_run(run_id)
    transcript.ended(run)
    return exit_code(run.status)


def _look(client: Client, run_id: str, waits: Callable[[Run], None], over: threading.Event) -> None:
    """Not every wait is told by an event: look now and then."""
    while not over.wait(_LOOK_S):
        try:
            run = client.get_run(run_id)
        except (RunsteadError, RuntimeError):  # the follower will say it, or has closed the client
            continue
        if run.status == "waiting" and not over.is_set():
            waits(run)


def log_lines(event: Event) -> str | None:
    """What a worker tells of the run's log while it runs."""
    value = event.payload.get("value")
    if (
        event.payload.get("name") == "run.log"
        and isinstance(value, dict)
        and isinstance(value.get("lines"), str)
    ):
        return str(value["lines"]).rstrip("\n")
    return None
