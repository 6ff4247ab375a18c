"""Creating runs."""

import sys
import warnings
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Any, Final, Literal, Required, TypedDict, Unpack, get_args

import msgspec

from runstead.sdk.errors import RunDiffersWarning, RunsteadError, ValueNotReadable
from runstead.sdk.models.run import CreatedRun
from runstead.sdk.models.user_types import encode
from runstead.sdk.models.value import Codec, packed, unpacked
from runstead.sdk.routes.call import Call, idempotent, new_key, path
from runstead.sdk.routes.route import Resource, S_co, route

#: What a creation does if the run exists with another config or input.
IfDiffers = Literal["warn", "raise", "ignore"]
RuntimeTargetKind = Literal["main_branch", "environment", "preview_branch"]
#: What happens when a budget is spent.
OnReached = Literal["pause", "fail", "cancel", "alert"]
KINDS: Final = ("task", "workflow", "eval", "agent")
#: Options that are members of the body. All others are members of the kind's request.
_OF_BODY: Final = {
    "title",
    "labels",
    "priority",
    "available_at",
    "parent_run_id",
    "trigger",
    "concurrency_key",
    "unique",
    "debounce",
    "pinned",
    "budget",
}


class RunBudgetLimit(TypedDict, total=False):
    """How much may be spent: a decimal as text ("2.50"), a number of input and output tokens, or both."""

    cost: str
    tokens: int


class RunBudget(TypedDict, total=False):
    """What a run may spend with its descendants: `{"limit": {"cost": "2.50"}, "on_reached": "pause"}`."""

    limit: Required[RunBudgetLimit]
    on_reached: OnReached
    alert_at_percent: int


class StartOptions(TypedDict, total=False):
    """Options of a new run, also of one that `client.start` creates from a task: see `RunOptions`."""

    id: str | None
    title: str | None
    labels: Mapping[str, str] | None
    priority: int | None
    available_at: datetime | None
    budget: RunBudget | None
    if_differs: IfDiffers
    concurrency_key: str | None
    unique: Mapping[str, Any] | None
    debounce: Mapping[str, Any] | None


class RunOptions(StartOptions, total=False):
    """Options of a new run. None leaves an option out.

    Every kind: `id` is the run's id, 1 to 128 characters. The same id again returns the same run, with `duplicate` set.
    If that run has another config or input, the call's are dropped: `if_differs` is warn (the default: a
    `RunDiffersWarning`), raise (`RunsteadError` with the code RUN_ID_CONFLICT) or ignore. `budget` bounds what the run
    and its descendants spend; see `RunBudget`. `labels` are at most 32 string pairs. The highest `priority` (-100 to
    100, default 0) is claimed first. No worker can claim the run before `available_at`. `runtime_target_kind`
    environment and preview_branch need the id of that name, main_branch needs none. A `pinned` run stays with workers
    of the version that claims it first. `idempotency_key` (1 to 255 characters) identifies the request for 24 h.

    Runs of a target with different values of `concurrency_key` take turns, and a limit may count the runs of each.
    `unique` is {"key": …, "while": "active" or a number of seconds}: an existing run of the target and key is returned,
    with `duplicate` set, while it is active or for so long after its creation. `debounce` is {"key": …, "seconds": …,
    "max_seconds": …}: the run waits, and a later call for the target and key replaces its input and config.

    Tasks: `backoff_limit` is how many lost attempts are retried. Workflows: `workflow_id` is the target's id unless
    given.

    Agents: `implementation_kind` and `worker_key` select the workers that may claim the run. A pending run with an `id`
    starts when it is created again with an `input`.
    """

    pinned: bool | None
    parent_run_id: str | None
    runtime_target_kind: RuntimeTargetKind | None
    runtime_target_environment_id: str | None
    runtime_target_branch_id: str | None
    idempotency_key: str | None
    # Tasks
    name: str | None
    timeout_seconds: int | None
    backoff_limit: int | None
    batch_id: str | None
    # Workflows and evals
    workflow_id: str | None
    start_mode: str | None
    # Agents
    mode: Literal["agent", "default_chat"] | None
    implementation_kind: str | None
    worker_key: str | None
    initial_status: Literal["pending", "running"] | None
    source_target_kind: str | None
    source_target_environment_id: str | None
    source_target_branch_id: str | None
    source_target_release_version: str | None
    trigger: Mapping[str, Any] | None


class RunCreation(Resource[S_co]):
    @route
    def create(
        self,
        target: str,
        *,
        input: Any = None,  # noqa: A002 - the member's name on the wire
        config: Mapping[str, Any] | None = None,
        conversation_id: str | None = None,
        project: str | None = None,
        **options: Unpack[RunOptions],
    ) -> Call[CreatedRun]:
        """`POST /runs`: create a run of `task:…`, `workflow:…`, `eval:…` or `agent:…`. `options`: see `RunOptions`.

        An agent's run is in a conversation, and its `input` is the start payload {messages, context, …}. ValueError for
        another target, or one of an agent without `conversation_id`; TypeError for an unknown option. 409
        RUN_ID_CONFLICT where a run of another kind, owner or target has the id. 400 with `errors` for invalid values.
        404 for a parent that the caller cannot see.
        """
        kind, name = split_target(target)
        if unknown := options.keys() - RunOptions.__annotations__.keys():
            raise TypeError(f"runs.create has no option {min(unknown)!r}")
        if_differs = options.pop("if_differs", "warn")
        if if_differs not in get_args(IfDiffers):
            raise ValueError(f"if_differs is {', '.join(get_args(IfDiffers))}, not {if_differs!r}")
        codec = None if kind == "agent" else self._client.codec  # the server reads an agent's messages
        given = {"input": input, "config": config}
        members = {**options, **given}
        if kind != "agent":
            members |= {name: packed(value, codec) for name, value in given.items()}
        body: dict[str, Any] = {"kind": kind, "request": {}}
        owner = None
        if kind == "agent":
            if conversation_id is None:
                raise ValueError(f"A run of {target} needs a conversation_id")
            body["owner"] = {"kind": "conversation", "id": conversation_id}
            body["request"] = {"mode": "agent", "agent_id": name}
        else:
            owner = self._project(project)
            body["request"] = {"target": target} | ({"workflow_id": name} if kind == "workflow" else {})
        key = members.pop("idempotency_key", None) or new_key()
        body |= {"public_id": public_id} if (public_id := members.pop("id", None)) is not None else {}
        for member, value in members.items():
            if value is not None:
                (body if member in _OF_BODY else body["request"])[member] = value
        return Call(
            "POST",
            path("runs"),
            CreatedRun,
            body=body,
            idempotency_key=str(key),
            owner=owner,
            pick=None
            if public_id is None or if_differs == "ignore"
            else partial(_compared, if_differs, given, codec),
        )

    @route
    def retry(
        self,
        run_id: str,
        *,
        from_step: str | None = None,
        input: Any = None,  # noqa: A002 - the member's name on the wire
        config: Mapping[str, Any] | None = None,
        title: str | None = None,
        labels: Mapping[str, str] | None = None,
        idempotency_key: str | None = None,
    ) -> Call[CreatedRun]:
        """`POST /runs/{run_id}/retry`: create a run with the request of an ended run. Its `retry_of` is this run.

        With `from_step` it goes on from there, with the results of the steps before: the id of a step (`stepId` in the
        log), or "failed" for the step that failed the run. The other options replace those of the run. 409
        RUN_NOT_TERMINAL, RETRY_TOO_LARGE; 400 STEP_NOT_FOUND.
        """
        codec = self._client.codec
        given = {"from_step": from_step, "title": title, "labels": labels}
        given |= {"input": packed(input, codec), "config": packed(config, codec)}
        return idempotent(
            "POST",
            path("runs", run_id, "retry"),
            CreatedRun,
            body={name: value for name, value in given.items() if value is not None},
            key=idempotency_key,
        )


def _compared(
    if_differs: IfDiffers, given: Mapping[str, Any], codec: Codec | None, created: CreatedRun
) -> CreatedRun:
    """Return the answer. Warn or raise where the run has another config or input than the call."""
    names = [
        name
        for name in ("config", "input")
        if getattr(created, f"{name}_differs")
        and (codec is None or not _is_same(given[name], getattr(created.run, name), codec))
    ]
    if not names:
        return created
    what = " and ".join(names)
    message = f"Run {created.run.run_id} exists with another {what}: the {what} of this call had no effect"
    if if_differs == "raise":
        raise RunsteadError(message, 409, "RUN_ID_CONFLICT")
    level, frame = 1, sys._getframe()  # noqa: SLF001 - there is no public form
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).startswith("runstead."):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, RunDiffersWarning, stacklevel=level)
    return created


def _is_same(value: Any, stored: Any, codec: Codec) -> bool:
    """Whether a codec, which may encode equal values differently, decodes this stored value to the value."""
    try:
        return bool(msgspec.json.decode(encode(value)) == unpacked(stored, codec))
    except ValueNotReadable:
        return False


def split_target(target: str) -> tuple[str, str]:
    """Return kind and name of a target such as `task:index`. Raise ValueError for another form."""
    kind, _, name = target.partition(":")
    if kind not in KINDS or not name:
        raise ValueError(
            f"A target is like task:index, workflow:nightly, eval:quality or agent:support, not {target!r}"
        )
    return kind, name
