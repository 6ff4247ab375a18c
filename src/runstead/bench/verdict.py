"""Checks the answers of a race: was the run completed exactly once?

The functions are pure. They get observations only, and do not know in which order the calls reached the server.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

# A decoded JSON object.
Json = Mapping[str, Any]

# Call → the final status of the run where that call won.
OUTCOME_OF = {"complete(completed)": "completed", "complete(failed)": "failed", "cancel": "cancelled"}
CALLS = tuple(OUTCOME_OF)

TERMINAL_EVENT_OF = {"completed": "RUN_FINISHED", "failed": "RUN_ERROR", "cancelled": "RUN_ERROR"}
TERMINAL_EVENTS = frozenset(TERMINAL_EVENT_OF.values())

# The members that the winner's transaction writes. No later call may change them.
FINAL_MEMBERS = ("run_id", "status", "completed_at", "duration_ms", "error", "metadata")


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to one caller. `status` 0: no answer, for the reason `detail`. `won` is `completed` or `cancelled`."""

    caller: int
    call: str
    status: int
    won: bool | None = None
    run: Json | None = None
    detail: str = ""


class Reading(msgspec.Struct, frozen=True):
    """The run and all its public events, at one time after the race."""

    run: Json
    events: list[Json]


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """All observations of one run. `started_as` is its status before the race."""

    run_id: str
    started_as: str
    answers: list[Answer]
    reading: Reading
    later: Reading


def marker(run_id: str, caller: int) -> str:
    """Return what a completion writes into the run, so that the final run identifies its caller."""
    return f"{run_id}:caller-{caller}"


def judge(observation: Observation) -> list[str]:
    """Return every disagreement as a sentence. The list is empty where the run was completed exactly once."""
    final = observation.reading.run
    if final.get("status") not in TERMINAL_EVENT_OF:
        return [f"no outcome won: the run is {final.get('status')!r} after every call was answered"]
    return [
        *_answers(observation, final),
        *_cancels(observation, final),
        *_author(observation, final),
        *_events(observation.reading.events, final),
        *_later(observation),
    ]


def _answers(observation: Observation, final: Json) -> Iterator[str]:
    """Check that each answer is 200, has the right winner, and shows the final run."""
    for answer in observation.answers:
        who = f"{answer.call} of caller {answer.caller}"
        if answer.status == 0:
            yield f"{who} got no answer: {answer.detail}"
            continue
        if answer.status != 200 or answer.won is None or answer.run is None:
            yield f"{who} was answered {answer.status}: {answer.detail}"
            continue
        if answer.call != "cancel":
            should_win = OUTCOME_OF[answer.call] == final["status"]
            if answer.won != should_win:
                yield f"{who} was answered completed: {_json(answer.won)}, but the run is {final['status']}"
        for name in FINAL_MEMBERS:
            shown, kept = answer.run.get(name), final.get(name)
            if shown != kept:
                yield f"{who} was shown {name} {_json(shown)}, but the run has {_json(kept)}"


def _cancels(observation: Observation, final: Json) -> Iterator[str]:
    """Check that one cancel at most was answered with true: the one that won. On an ended run it is false."""
    cancels = [answer for answer in observation.answers if answer.call == "cancel"]
    winners = [answer.caller for answer in cancels if answer.won]
    if final["status"] != "cancelled":
        if winners:
            yield f"cancel of callers {winners} was answered cancelled: true, but the run is {final['status']}"
        return
    # The winner's answer may be missing, or not a 200.
    unknown = any(answer.won is None for answer in cancels)
    if len(winners) > 1 or (not winners and not unknown):
        yield f"the run is cancelled, and {len(winners)} cancels were answered cancelled: true (callers {winners})"


def _author(observation: Observation, final: Json) -> Iterator[str]:
    """Check that the run has the values of one call only."""
    error, metadata = final.get("error"), final.get("metadata")
    written: Any = None
    if final["status"] == "completed":
        written = metadata.get("providerRequestId") if isinstance(metadata, Mapping) else None
        stray = error
    elif final["status"] == "failed":
        written = error.get("message") if isinstance(error, Mapping) else None
        stray = metadata
    else:
        stray = metadata
        if not isinstance(error, Mapping) or error.get("code") != "CANCELLED":
            yield f"the run is cancelled, but its error is {_json(error)}"
    if stray is not None:
        yield f"the run is {final['status']}, but carries what another outcome wrote: {_json(stray)}"
    if final["status"] == "cancelled":
        return
    authors = {
        marker(observation.run_id, answer.caller)
        for answer in observation.answers
        if OUTCOME_OF[answer.call] == final["status"]
    }
    if written not in authors:
        yield f"the run is {final['status']}, but what it carries was written by no such call: {_json(written)}"


def _events(events: list[Json], final: Json) -> Iterator[str]:
    """Check that there is one terminal event of the right type, the last one, and that ids are 1, 2, 3, …"""
    ids = [event.get("event_id") for event in events]
    if ids != list(range(1, len(events) + 1)):
        yield f"event ids are not 1 to {len(events)} in order: {ids}"
    types = [event.get("event_type") for event in events]
    terminal = [name for name in types if name in TERMINAL_EVENTS]
    if len(terminal) != 1:
        yield f"{len(terminal)} terminal events instead of one: {terminal}"
        return
    if types[-1] != terminal[0]:
        yield f"the terminal event {terminal[0]} is not the last one: {types}"
    if terminal[0] != TERMINAL_EVENT_OF[final["status"]]:
        yield f"the run is {final['status']}, but its terminal event is {terminal[0]}"


def _later(observation: Observation) -> Iterator[str]:
    """Check that no member of the ended run and none of its events have changed."""
    first, later = observation.reading, observation.later
    for name in sorted({*first.run, *later.run}):
        if first.run.get(name) != later.run.get(name):
            was, became = _json(first.run.get(name)), _json(later.run.get(name))
            yield f"read again later, {name} is {became} instead of {was}"
    if first.events != later.events:
        yield f"read again later, there are {len(later.events)} events that differ from the {len(first.events)} before"


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
