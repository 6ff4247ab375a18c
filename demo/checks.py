"""The checks of the demo's runs after their end. They are pure: no clock, no server."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from runstead.sdk.models.event import Event, Snapshot
from runstead.sdk.models.run import Attempt, Run

USAGE: Final = (
    "provider",
    "model",
    "finishReason",
    "providerRequestId",
    "inputTokens",
    "outputTokens",
    "cachedInputTokens",
    "reasoningTokens",
    "usageCaptureStatus",
)


@dataclass(frozen=True)
class Check:
    what: str
    expected: Any
    actual: Any
    brief: bool = False
    """If the check passes, only `what` is shown."""

    @property
    def ok(self) -> bool:
        return bool(self.expected == self.actual)

    def __str__(self) -> str:
        if self.ok:
            return self.what if self.brief or self.expected is True else f"{self.what}: {_shown(self.actual)}"
        return f"{self.what}: expected {_shown(self.expected)}, but it was {_shown(self.actual)}"


@dataclass(frozen=True)
class Ended:
    """A run after its end, with the events that were followed, the stored events, and the attempts."""

    run: Run
    followed: Sequence[Event]
    stored: Sequence[Event]
    attempts: Sequence[Attempt]

    @property
    def progress(self) -> list[dict[str, Any]]:
        return [event.payload["value"] for event in self.followed if event.payload.get("name") == "progress"]


def lifecycle(ended: Ended, status: str, outcomes: Sequence[str]) -> list[Check]:
    """Return the checks of every run. `outcomes` are those of its attempts."""
    run, followed = ended.run, ended.followed
    ids = [event.event_id for event in followed]
    terminal = [f"{event.event_type} as event {event.event_id}" for event in followed if event.terminal]
    closing = "RUN_FINISHED" if status == "completed" else "RUN_ERROR"
    return [
        Check("status", status, run.status),
        Check("attempts", list(outcomes), [attempt.outcome for attempt in ended.attempts]),
        Check(f"event ids 1 to {len(ids)} without a gap", True, ids == list(range(1, len(ids) + 1))),
        Check("the run counts as many events", len(ids), run.latest_event_id),
        Check("one terminal event, the last", [f"{closing} as event {len(ids)}"], terminal),
        Check("the stored log equals the followed stream", True, _log(followed) == _log(ended.stored)),
    ]


def inventory(ended: Ended, files: int) -> list[Check]:
    """Return the checks of the inventory. `files` is the expected number of files."""
    run = ended.run
    artifact: dict[str, Any] = next(iter(run.artifacts), {})
    path = artifact_path(run)
    body = path.read_bytes() if path is not None else b""
    rows = json.loads(body or "[]")
    output = run.output or {}
    totals = {name: output.get(name) for name in ("files", "bytes", "lines")}
    sums = {"files": len(rows)} | {name: sum(row[name] for row in rows) for name in ("bytes", "lines")}
    reached = [(value["done"], value["total"]) for value in ended.progress]
    return [
        Check("files in the inventory", files, len(rows)),
        Check("the output adds up to the inventory", sums, totals),
        Check("the last progress event is about the last file", [(files, files)], reached[-1:], brief=True),
        Check("exit code", 0, run.exit_code),
        Check("the run has a log", True, bool(run.logs)),
        Check(
            "the artifact is on disk as it was reported",
            (len(body), hashlib.sha256(body).hexdigest(), "application/json"),
            (artifact.get("size"), artifact.get("sha256"), artifact.get("media_type")),
            brief=True,
        ),
    ]


def agent(ended: Ended, snapshot: Snapshot, rows: Sequence[dict[str, Any]]) -> list[Check]:
    """Return the checks of the agent's run. `rows` are the inventory's: the agent's answer must agree with them."""
    run = ended.run
    largest = max(rows, key=lambda row: (row["bytes"], row["path"]), default={})
    answer = {"path": largest.get("path"), "lines": largest.get("lines")}
    text = "".join(e.payload["delta"] for e in ended.followed if e.event_type == "TEXT_MESSAGE_CONTENT")
    usage = run.metadata or {}
    tokens = [usage.get(name) for name in USAGE if name.endswith("Tokens")]
    closing = ended.followed[-1].payload if ended.followed else {}
    return [
        Check("the agent's answer agrees with the inventory", answer, run.output),
        Check("its text has the number of lines", True, f"in {answer['lines']} lines" in text),
        Check("the message of the conversation is that text", [text], _assistant_texts(snapshot), brief=True),
        Check("usage metadata has all members", sorted(USAGE), sorted(usage), brief=True),
        Check("token counts are whole numbers", True, all(type(count) is int for count in tokens)),
        Check("RUN_FINISHED carries the same metadata", usage, closing.get("metadata"), brief=True),
        Check("tool results", 2, sum(e.event_type == "TOOL_CALL_RESULT" for e in ended.followed)),
    ]


def cancelled(ended: Ended, reason: str, lease_seconds: int) -> list[Check]:
    """Return the checks of the cancelled run."""
    run = ended.run
    cancel = run.cancellation
    stopped = cancel.stopped_at if cancel else None
    took = None
    if cancel and stopped and cancel.requested_at:
        took = (stopped - cancel.requested_at).total_seconds()
    # At the end of the lease the server records a stop itself. The worker must have been faster.
    in_time = took is not None and took < lease_seconds - 1
    when = "" if took is None else f" {took:.2f} s after the cancel"
    return [
        Check("error code", "CANCELLED", run.error.code if run.error else None),
        Check("reason", reason, cancel.reason if cancel else None),
        Check(f"the worker reported that it stopped{when}", True, in_time),
        Check("there is no output", None, run.output, brief=True),
    ]


def takeover(ended: Ended, below: int, block: int, primes: int) -> list[Check]:
    """Return the checks of a run whose worker was killed, and which another worker finished.

    It counts the primes below `below`, in blocks.
    """
    blocks = ended.progress
    by_attempt = [value["attempt"] for value in blocks]
    resumed = max((value["upto"] for value in blocks if value["attempt"] == 1), default=None)
    output = {"below": below, "primes": primes, "resumed_from": resumed}
    upto = [value["upto"] for value in blocks]
    return [
        Check("workers that had the run", 2, len({attempt.lease_owner for attempt in ended.attempts})),
        Check("every block was counted once, over both attempts", list(range(block, below + 1, block)), upto),
        Check("events of attempt 2 follow those of attempt 1", sorted(by_attempt), by_attempt, brief=True),
        Check("both attempts emitted events", [1, 2], sorted(set(by_attempt)), brief=True),
        Check("output", output, ended.run.output),
    ]


def artifact_path(run: Run) -> Path | None:
    """Return the path of the run's artifact, None where it has none or the file does not exist."""
    uri = next((artifact.get("uri") for artifact in run.artifacts), None)
    path = Path(unquote(urlsplit(uri).path)) if uri else None
    return path if path is not None and path.is_file() else None


def _log(events: Sequence[Event]) -> list[tuple[int, dict[str, Any]]]:
    return [(event.event_id, event.payload) for event in events]


def _assistant_texts(snapshot: Snapshot) -> list[str]:
    messages = [m for one in snapshot.events for m in one.event.get("messages", ())]
    parts = [part for m in messages if m.get("role") == "assistant" for part in m.get("parts", ())]
    return [part["text"] for part in parts if part.get("type") == "text"]


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple) and len(value) > 6:
        return f"{len(value)} from {_shown(value[0])} to {_shown(value[-1])}"
    if isinstance(value, list | tuple):
        return ", ".join(_shown(one) for one in value) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_shown(one)}" for name, one in value.items()) or "none"
    return "none" if value is None else str(value)
