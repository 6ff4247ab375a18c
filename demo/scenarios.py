"""The four runs of the demo: each is created, followed, shown and checked."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec

import checks
from checks import Check, Ended
from files import repository_files
from processes import Child, Children
from runstead.sdk import AsyncClient, Call
from runstead.sdk.models.event import Event
from runstead.sdk.models.run import Run
from terminal import Terminal
from worker import IMPLEMENTATION_KIND, LEASE_SECONDS, QUESTION

SCENARIO_S: Final = 25.0
_BLOCK: Final = 50_000
_PRIMES_BELOW_A_MILLION: Final = 78_498
_ENDLESS: Final = 10_000_000_000
_REASON: Final = "Too many primes"


class Scenarios:
    def __init__(
        self,
        client: AsyncClient,
        children: Children,
        terminal: Terminal,
        root: Path,
        start_worker: Callable[[str], Awaitable[Child]],
    ) -> None:
        """`root` is the repository. `start_worker` starts a worker with this name."""
        self._client = client
        self._children = children
        self._terminal = terminal
        self._root = root
        self._start_worker = start_worker
        self._rows: list[dict[str, Any]] = []

    async def run(self) -> None:
        """Run all scenarios. Raise ChildDiedError, TimeoutError or RunsteadError where one cannot be completed."""
        self._worker = await self._start_worker("worker-1")
        for scenario in (self.inventory, self.agent, self.cancelled, self.takeover):
            async with asyncio.timeout(SCENARIO_S):
                await self._children.watch(scenario())

    async def inventory(self) -> None:
        self._terminal.title("1 of 4: a task. An inventory of this repository's files")
        created = await self._client.runs.create("task:inventory", title="Inventory")
        ended = await self._follow(created.run)
        path = checks.artifact_path(ended.run)
        self._rows = json.loads(path.read_bytes()) if path else []
        files = len(await asyncio.to_thread(repository_files, self._root))
        self._check(checks.lifecycle(ended, "completed", ["completed"]), checks.inventory(ended, files))

    async def agent(self) -> None:
        self._terminal.title("2 of 4: an agent in a conversation. It reasons, calls tools and answers")
        self._terminal.note(f"Question: {QUESTION}")
        project = await self._client.projects.get()
        conversation = await self._client.conversations.create(project_id=project.id, title="About the files")
        message = {"id": "question", "role": "user", "parts": [{"type": "text", "text": QUESTION}]}
        context = {"conversation_id": conversation.id, "project_id": project.id}
        created = await self._client.runs.create(
            "agent:librarian",
            conversation_id=conversation.id,
            implementation_kind=IMPLEMENTATION_KIND,
            input={"messages": [message], "context": context},
        )
        ended = await self._follow(created.run, conversation_id=conversation.id)
        snapshot = await self._client.events.snapshot(conversation.id, ended.run.run_id)
        own = checks.agent(ended, snapshot, self._rows)
        self._check(checks.lifecycle(ended, "completed", ["completed"]), own)

    async def cancelled(self) -> None:
        self._terminal.title("3 of 4: a task that is cancelled half-way. Its worker stops")
        config = {"below": _ENDLESS, "block": _BLOCK}
        created = await self._client.runs.create("task:primes", config=config, title="Too many primes")
        run_id = created.run.run_id

        async def cancel(event: Event) -> None:
            if event.payload.get("name") == "progress" and event.payload["value"]["upto"] == 5 * _BLOCK:
                self._terminal.note(f"POST /runs/{run_id}/cancel")
                await self._client.runs.cancel(run_id, reason=_REASON)

        ended = await self._follow(created.run, cancel, until=_stopped)
        own = checks.cancelled(ended, _REASON, LEASE_SECONDS)
        self._check(checks.lifecycle(ended, "cancelled", ["cancelled"]), own)

    async def takeover(self) -> None:
        self._terminal.title("4 of 4: a task whose worker is killed half-way. Another one finishes it")
        below = 20 * _BLOCK
        config = {"below": below, "block": _BLOCK}
        created = await self._client.runs.create(
            "task:primes", config=config, title="Primes, in two attempts"
        )

        async def kill(event: Event) -> None:
            if event.payload.get("name") == "progress" and event.payload["value"]["upto"] == below // 2:
                code = await self._children.kill(self._worker)
                self._terminal.note(
                    f"worker-1 was killed (SIGKILL, exit code {code}); worker-2 takes its place."
                )
                self._terminal.note(
                    f"The run can be claimed again when its lease of {LEASE_SECONDS} s has expired …"
                )
                await self._start_worker("worker-2")

        ended = await self._follow(created.run, kill)
        own = checks.takeover(ended, below, _BLOCK, _PRIMES_BELOW_A_MILLION)
        self._check(checks.lifecycle(ended, "completed", ["lease_expired", "completed"]), own)

    async def _follow(
        self,
        run: Run,
        react: Callable[[Event], Awaitable[None]] | None = None,
        *,
        conversation_id: str | None = None,
        until: Callable[[Run], bool] = lambda run: run.terminal,
    ) -> Ended:
        """Print the run's events as they come, react to them, and read the run again after its end."""
        self._terminal.note(f"{run.kind} run {run.run_id}, {run.status}")
        followed = []
        async with aclosing(
            self._client.events.follow(run.run_id, conversation_id=conversation_id)
        ) as stream:
            async for event in stream:
                self._terminal.event(event, run.created_at, datetime.now(UTC))
                followed.append(event)
                if react is not None:
                    await react(event)
        # A worker's report after the terminal event is not an event: the run has to be read until it is there.
        members = await self._read(run.run_id)
        while not until(ended := msgspec.convert(members, Run)):
            await asyncio.sleep(0.05)
            members = await self._read(run.run_id)
        self._terminal.run(members)
        stored = [event async for event in self._client.events.iter(run.run_id)]
        attempts = await self._client.runs.attempts(run.run_id)
        return Ended(ended, followed, stored, attempts.data)

    async def _read(self, run_id: str) -> dict[str, Any]:
        """Return the run as a JSON object."""
        return await self._client.request(Call("GET", f"/runs/{run_id}", dict))

    def _check(self, *found: list[Check]) -> None:
        self._terminal.checks([check for some in found for check in some])


def _stopped(run: Run) -> bool:
    return run.cancellation is not None and run.cancellation.stopped_at is not None
