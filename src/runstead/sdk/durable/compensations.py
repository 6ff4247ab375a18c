"""Compensations: runs that undo what a run has done, if it fails or is cancelled."""

import hashlib
from typing import Any

import msgspec

from runstead.sdk.durable.forms import Forms
from runstead.sdk.durable.history import STEP_FINISHED
from runstead.sdk.durable.step_runner import current_branch
from runstead.sdk.errors import RunsteadError
from runstead.sdk.routes.create import split_target
from runstead.sdk.task import RunRequest


class Compensations(Forms):
    """The part of a context that registers compensations, and reads the steps of the run that it compensates."""

    async def compensate(self, request: RunRequest, title: str | None = None) -> None:
        """Register a compensation of `task:…` or `workflow:…`, once."""
        target, config, input_, _ = request
        if split_target(target)[0] not in ("task", "workflow"):
            raise ValueError(f"A compensation is a task or a workflow, not {target!r}")
        branch, step_name = current_branch(), f"compensate {target}"
        step_id = self._next_step_id(branch, step_name)
        if step_id in self._history.finished:
            return
        with branch.running(step_name):
            self._start(step_id, step_name)
            key = self._key(step_id, [target, config, input_, title])
            await self.register_compensation(request, key, title)
            self._finish(step_id, step_name)

    def _key(self, step_id: str, request: list[Any]) -> str:
        if self.codec is not None:  # the server gets no digest of plain values
            return self._external_id(step_id)
        # A step that a retry of the run resets registers the same request once.
        text = msgspec.json.encode(request, order="deterministic")
        return f"{step_id}:{hashlib.sha256(text).hexdigest()}"

    async def register_compensation(self, request: RunRequest, key: str, title: str | None = None) -> None:
        """Register a compensation under a key of the run, without a step in its log."""
        call = self.calls.runs.compensate(
            self.run.run_id,
            request.target,
            config=request.config,
            input=request.input,
            title=title,
            idempotency_key=key,
            **self.fence,
        )
        try:
            await self.send(call)
        except RunsteadError as error:
            # An earlier try registered it. A codec may have encoded the same values differently.
            if self.codec is None or error.code != "IDEMPOTENCY_KEY_REUSED":
                raise

    async def steps_to_undo(self) -> list[tuple[str, Any]]:
        """Return (name, result) of each finished step of the run that this one compensates, in the order of their ends."""
        run_id = self.run.compensates
        if run_id is None:
            raise ValueError(f"The run {self.run.run_id} compensates no run")
        steps: list[tuple[str, Any]] = []
        async for event in self.stored_events(run_id, (STEP_FINISHED,)):
            payload = event.payload
            if "stepId" in payload and "result" in payload and payload.get("error") is None:
                result = await self.read(run_id, payload["result"])
                steps.append((str(payload.get("stepName")), result))
        return steps
