"""The demo's worker: claims runs over HTTP and does what they ask for. It needs nothing of Runstead but the SDK."""

import argparse
import hashlib
import json
import logging
import os
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from runstead.sdk import AsyncClient, ClaimedRun, Client, RunFailed, ThreadContext, Worker

sys.path.append(str(Path(__file__).parent))  # `python -P` leaves the script's own folder out

from files import lines_in, repository_files
from speech import Speech

IMPLEMENTATION_KIND = "demo-agent"
#: The shortest lease there is: the sooner the run of a dead worker is claimed again, the shorter the demo.
LEASE_SECONDS = 5
QUESTION = "Which is the largest file of this repository, and how many lines does it have?"


class Tasks:
    """The handlers, and what they share. Plain functions: the worker runs each in a thread, so that they may block."""

    def __init__(self, client: Client, root: Path, artifacts: Path) -> None:
        self._client = client
        self._root = root
        self._artifacts = artifacts

    def handle(self, run: ClaimedRun, ctx: ThreadContext) -> Any:
        handlers: dict[str | None, Callable[[ClaimedRun, ThreadContext], Any]] = {
            "task:inventory": self.inventory,
            "task:primes": self.primes,
        }
        handler = self.answer if run.kind == "agent" else handlers.get(run.target)
        if handler is None:
            raise RunFailed(f"This worker does not know {run.target}", "UNKNOWN_TARGET")
        thread = run.conversation_id or run.run_id
        ctx.emit({"type": "RUN_STARTED", "threadId": thread, "runId": run.run_id})
        return handler(run, ctx)

    def inventory(self, run: ClaimedRun, ctx: ThreadContext) -> dict[str, Any]:
        """Hash, size and line count of every file: in full as an artifact, summed up as the output."""
        names = repository_files(self._root)
        ctx.log(f"{len(names)} files to look at")
        ctx.emit({"type": "STEP_STARTED", "stepName": "hash files"})
        rows = []
        by_extension: defaultdict[str, dict[str, int]] = defaultdict(
            lambda: {"files": 0, "bytes": 0, "lines": 0}
        )
        for done, name in enumerate(names, 1):
            content = (self._root / name).read_bytes()
            lines = lines_in(content)
            digest = hashlib.sha256(content).hexdigest()
            rows.append({"path": name, "bytes": len(content), "lines": lines, "sha256": digest})
            sums = by_extension[Path(name).suffix or "(none)"]
            for member, more in (("files", 1), ("bytes", len(content)), ("lines", lines)):
                sums[member] += more
            if done * 10 // len(names) > (done - 1) * 10 // len(names):
                ctx.emit(progress(done=done, total=len(names), path=name))
        ctx.emit({"type": "STEP_FINISHED", "stepName": "hash files"})

        path = self._artifacts / f"inventory-{run.run_id}.json"
        body = json.dumps(rows, indent=1).encode()
        path.write_bytes(body)
        digest = hashlib.sha256(body).hexdigest()
        ctx.artifact(
            path.name, media_type="application/json", size=len(body), sha256=digest, uri=path.as_uri()
        )
        ctx.log(f"Wrote {path.name}: {len(body)} bytes")
        ctx.exit_code = 0
        totals = {
            sum_: sum(row[sum_] for row in by_extension.values()) for sum_ in ("files", "bytes", "lines")
        }
        return totals | {"by_extension": dict(sorted(by_extension.items()))}

    def primes(self, run: ClaimedRun, ctx: ThreadContext) -> dict[str, Any]:
        """Count the primes below `config.below`, block by block, by dividing: slow enough to be watched.

        Every block ends with a progress event. An event is durable once it is told, so an attempt that follows a
        lost one reads the log and goes on after the last block in it. Once the run is cancelled, telling raises.
        """
        below, block = run.config["below"], run.config["block"]
        start, found = 0, 0
        for event in self._client.events(run.run_id, event_types=["CUSTOM"]):
            start, found = event.payload["value"]["upto"], event.payload["value"]["primes"]
        ctx.log(f"Attempt {run.attempt} starts at {start}")
        for first in range(start, below, block):
            upto = min(first + block, below)
            found += sum(map(is_prime, range(first, upto)))
            ctx.emit(progress(attempt=run.attempt, upto=upto, primes=found))
        return {"below": below, "primes": found, "resumed_from": start}

    def answer(self, run: ClaimedRun, ctx: ThreadContext) -> dict[str, Any]:
        """Answer the question as an agent does: think, call tools, speak. No model is asked; the tools are real."""
        question = run.request_snapshot["messages"][-1]["parts"][0]["text"]
        spoken = Speech(ctx, run.run_id)
        spoken.think("I need the sizes of all files first, and then the lines of the largest one.")

        def largest_file() -> dict[str, Any]:
            sizes = {name: (self._root / name).stat().st_size for name in repository_files(self._root)}
            path = max(sizes, key=lambda name: (sizes[name], name))
            return {"path": path, "bytes": sizes[path]}

        largest = spoken.call("largest_file", {}, largest_file)
        path = largest["path"]
        lines = spoken.call("count_lines", {"path": path}, lambda: lines_in((self._root / path).read_bytes()))
        spoken.say(f"The largest file is {path}: {largest['bytes']} bytes in {lines} lines.")
        # Words stand in for tokens: without a model there is no tokenizer either.
        ctx.metadata = {
            "provider": "demo",
            "model": "scripted-agent-1",
            "finishReason": "stop",
            "providerRequestId": f"req_{run.run_id}",
            "inputTokens": len(question.split()),
            "outputTokens": spoken.words + spoken.thought_words,
            "cachedInputTokens": 0,
            "reasoningTokens": spoken.thought_words,
            "usageCaptureStatus": "complete",
        }
        return {"path": path, "lines": lines}


def progress(**value: Any) -> dict[str, Any]:
    return {"type": "CUSTOM", "name": "progress", "value": value}


def is_prime(number: int) -> bool:
    if number < 4:
        return number > 1
    if number % 2 == 0:
        return False
    divisor = 3
    while divisor * divisor <= number:
        if number % divisor == 0:
            return False
        divisor += 2
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("url", "project", "name"):
        parser.add_argument(f"--{name}", required=True)
    for name in ("root", "artifacts"):
        parser.add_argument(f"--{name}", required=True, type=Path)
    told = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    key = os.environ["RUNSTEAD_KEY"]  # not an argument: those are there for everybody to read
    with Client(told.url, key, project=told.project) as client:
        Worker(
            AsyncClient(told.url, key, project=told.project),
            Tasks(client, told.root, told.artifacts).handle,
            kinds=["agent", "task"],
            implementation_kind=IMPLEMENTATION_KIND,
            worker_key=told.name,
            lease_seconds=LEASE_SECONDS,
            concurrency=1,  # so that a handler which went on after a cancel would be seen: no other run would start
            grace_seconds=1.0,
        ).run()


if __name__ == "__main__":
    main()
