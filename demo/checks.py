"""What must be true of the demo's runs once they have ended. Nothing here reads a clock or calls a server."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from runstead.sdk import Attempt, Event, Run, Snapshot

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
    """Where all is well, `what` says enough."""

    @property
    def ok(self) -> bool:
        return bool(self.expected == self.actual)

    def __str__(self) -> str:
        if self.ok:
            return self.what if self.brief or self.expected is True else f"{self.what}: {_shown(self.actual)}"
        return f"{self.what}: expected {_shown(self.expected)}, but it was {_shown(self.actual)}"


@dataclass(frozen=True)
class Ended:
    """A run after its end: as it is, as its stream told it, as its log holds it, and its attempts."""

    run: Run
    followed: Sequence[Event]
    stored: Sequence[Event]
    attempts: Sequence[Attempt]

    @property
    def progress(self) -> list[dict[str, Any]]:
        return [event.payload["value"] for event in self.followed if event.event_type == "CUSTOM"]


def lifecycle(ended: Ended, status: str, outcomes: Sequence[str]) -> list[Check]:
    """What holds for every run. `outcomes` are those of its attempts."""
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
        Check("the stored log is what the stream told", True, _log(followed) == _log(ended.stored)),
    ]


def inventory(ended: Ended, files: int) -> list[Check]:
    """`files` is how many there are."""
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
    """`rows` are the inventory's: what the agent found out must agree with them."""
    run = ended.run
    largest = max(rows, key=lambda row: (row["bytes"], row["path"]), default={})
    answer = {"path": largest.get("path"), "lines": largest.get("lines")}
    said = "".join(e.payload["delta"] for e in ended.followed if e.event_type == "TEXT_MESSAGE_CONTENT")
    usage = run.metadata or {}
    tokens = [usage.get(name) for name in USAGE if name.endswith("Tokens")]
    closing = ended.followed[-1].payload if ended.followed else {}
    return [
        Check("the agent's answer agrees with the inventory", answer, run.output),
        Check("its text tells the number of lines", True, f"in {answer['lines']} lines" in said),
        Check("the message of the conversation is that text", [said], _assistant_texts(snapshot), brief=True),
        Check("usage metadata has all members", sorted(USAGE), sorted(usage), brief=True),
        Check("token counts are whole numbers", True, all(type(count) is int for count in tokens)),
        Check("RUN_FINISHED carries the same metadata", usage, closing.get("metadata"), brief=True),
        Check("tool results", 2, sum(e.event_type == "TOOL_CALL_RESULT" for e in ended.followed)),
    ]


def cancelled(ended: Ended, reason: str, lease_seconds: int) -> list[Check]:
    run = ended.run
    told = run.cancellation
    stopped = told.stopped_at if told else None
    took = (stopped - told.requested_at).total_seconds() if told and stopped and told.requested_at else None
    # At the end of the lease the server notes a stop by itself. The worker must have been faster.
    in_time = took is not None and took < lease_seconds - 1
    when = "" if took is None else f" {took:.2f} s after the cancel"
    return [
        Check("error code", "CANCELLED", run.error.code if run.error else None),
        Check("reason", reason, told.reason if told else None),
        Check(f"the worker said that it stopped{when}", True, in_time),
        Check("there is no output", None, run.output, brief=True),
    ]


def takeover(ended: Ended, below: int, block: int, primes: int) -> list[Check]:
    """Primes below `below` were counted in blocks, by one worker that was killed and by one that went on."""
    blocks = ended.progress
    by_attempt = [value["attempt"] for value in blocks]
    resumed = max((value["upto"] for value in blocks if value["attempt"] == 1), default=None)
    output = {"below": below, "primes": primes, "resumed_from": resumed}
    upto = [value["upto"] for value in blocks]
    return [
        Check("workers that had the run", 2, len({attempt.lease_owner for attempt in ended.attempts})),
        Check("every block was counted once, over both attempts", list(range(block, below + 1, block)), upto),
        Check("attempt 2 told what came after attempt 1", sorted(by_attempt), by_attempt, brief=True),
        Check("both attempts told something", [1, 2], sorted(set(by_attempt)), brief=True),
        Check("output", output, ended.run.output),
    ]


def artifact_path(run: Run) -> Path | None:
    """Where the run's artifact is, None where it has none or the file is gone."""
    uri = next((artifact.get("uri") for artifact in run.artifacts), None)
    path = Path(unquote(urlsplit(uri).path)) if uri else None
    return path if path is not None and path.is_file() else None


def _log(events: Sequence[Event]) -> list[tuple[int, dict[str, Any]]]:
    return [(event.event_id, event.payload) for event in events]


def _assistant_texts(snapshot: Snapshot) -> list[str]:
    messages = [m for told in snapshot.events for m in told.event.get("messages", ())]
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
