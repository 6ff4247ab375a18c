"""The demo's worker: it claims runs over HTTP and handles them. It uses only Runstead's SDK."""

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

from runstead import AsyncClient, Client, RunFailed, ThreadContext, Worker
from runstead.sdk.models.lease import ClaimedRun

sys.path.append(str(Path(__file__).parent))  # `python -P` leaves the script's own folder out

from agent_messages import AgentMessages
from files import lines_in, repository_files

IMPLEMENTATION_KIND = "demo-agent"
#: The shortest possible lease: the run of the killed worker is claimed again after it.
LEASE_SECONDS = 5
QUESTION = "Which is the largest file of this repository, and how many lines does it have?"


class Tasks:
    """The handlers. They are plain functions that may block: the worker runs each in a thread."""

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
        """List hash, size and lines of every file. The list is an artifact, the sums are the output."""
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
        """Count the primes below `config.below`, block by block, slowly enough to be watched.

        Every block ends with a progress event. Events are durable, so a second attempt reads the log and continues
        after the last block. After a cancel, `emit` raises.
        """
        below, block = run.config["below"], run.config["block"]
        start, found = 0, 0
        for event in self._client.events.iter(run.run_id, event_types=["CUSTOM"]):
            if event.payload["name"] == "progress":  # the log is stored as CUSTOM events too
                start, found = event.payload["value"]["upto"], event.payload["value"]["primes"]
        ctx.log(f"Attempt {run.attempt} starts at {start}")
        for first in range(start, below, block):
            upto = min(first + block, below)
            found += sum(map(is_prime, range(first, upto)))
            ctx.emit(progress(attempt=run.attempt, upto=upto, primes=found))
        return {"below": below, "primes": found, "resumed_from": start}

    def answer(self, run: ClaimedRun, ctx: ThreadContext) -> dict[str, Any]:
        """Answer the question as an agent does: reasoning, tool calls, text. No model is used; the tools are real."""
        question = run.request_snapshot["messages"][-1]["parts"][0]["text"]
        messages = AgentMessages(ctx, run.run_id)
        messages.reason("I need the sizes of all files first, and then the lines of the largest one.")

        def largest_file() -> dict[str, Any]:
            sizes = {name: (self._root / name).stat().st_size for name in repository_files(self._root)}
            path = max(sizes, key=lambda name: (sizes[name], name))
            return {"path": path, "bytes": sizes[path]}

        largest = messages.tool_call("largest_file", {}, largest_file)
        path = largest["path"]
        lines = messages.tool_call(
            "count_lines", {"path": path}, lambda: lines_in((self._root / path).read_bytes())
        )
        messages.text(f"The largest file is {path}: {largest['bytes']} bytes in {lines} lines.")
        # Words are counted in place of tokens: without a model there is no tokenizer.
        ctx.metadata = {
            "provider": "demo",
            "model": "scripted-agent-1",
            "finishReason": "stop",
            "providerRequestId": f"req_{run.run_id}",
            "inputTokens": len(question.split()),
            "outputTokens": messages.words + messages.reasoning_words,
            "cachedInputTokens": 0,
            "reasoningTokens": messages.reasoning_words,
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
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    key = os.environ["RUNSTEAD_KEY"]  # not an argument: other users of the machine can read arguments
    with Client(arguments.url, key, project=arguments.project) as client:
        Worker(
            AsyncClient(arguments.url, key, project=arguments.project),
            Tasks(client, arguments.root, arguments.artifacts).handle,
            kinds=["agent", "task"],
            implementation_kind=IMPLEMENTATION_KIND,
            worker_key=arguments.name,
            lease_seconds=LEASE_SECONDS,
            concurrency=1,  # a handler that ignored the cancel would keep the next run from starting
            grace_seconds=1.0,
        ).run()


if __name__ == "__main__":
    main()
