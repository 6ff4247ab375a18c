"""Token usage of models, as completions report it."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from runstead.sdk.models.response import ResponseModel


class TokenSums(ResponseModel, frozen=True, kw_only=True):
    """The tokens of some runs. Input includes cached input tokens, output includes reasoning tokens."""

    runs: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int = 0
    reasoning_tokens: int = 0
    total_tokens: int = 0


class ModelUsage(TokenSums, frozen=True, kw_only=True):
    """The tokens of one model."""

    provider: str | None = None
    model: str | None = None


class UsageSum(TokenSums, frozen=True, kw_only=True):
    """A sum over `runs`. `usage_capture_status` is complete, partial or missing, None where no run reported usage."""

    ended_runs: int = 0
    reported_runs: int = 0
    usage_capture_status: str | None = None
    captures: dict[str, int] = msgspec.field(default_factory=dict)
    by_model: list[ModelUsage] = msgspec.field(default_factory=list)


class Usage(ResponseModel, frozen=True, kw_only=True):
    """The usage of a run, of the run and its descendants (`subtree`), and of its whole `family`."""

    run_id: str
    root_run_id: str
    run: UsageSum
    subtree: UsageSum
    family: UsageSum


_COUNTS: Final = ("inputTokens", "outputTokens", "cachedInputTokens", "reasoningTokens")


def summed(calls: Iterable[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Return a completion's metadata from the usage of each model call; None without calls.

    `provider` and `model` are those with the most tokens. With several models, `models` lists all of them.
    """
    models: dict[tuple[str, str], dict[str, Any]] = {}
    last: Mapping[str, Any] = {}
    partial = False
    for last in calls:
        provider, model = last["provider"], last["model"]
        sums = models.setdefault(
            (provider, model), {"provider": provider, "model": model, **dict.fromkeys(_COUNTS, 0)}
        )
        for name in _COUNTS:
            sums[name] += last.get(name, 0)
        partial = partial or bool(last.get("partial"))
    if not models:
        return None
    each = sorted(models.values(), key=lambda sums: -(sums["inputTokens"] + sums["outputTokens"]))
    metadata = {"provider": each[0]["provider"], "model": each[0]["model"]}
    metadata |= {name: sum(sums[name] for sums in each) for name in _COUNTS}
    metadata |= {name: last[name] for name in ("finishReason", "providerRequestId") if name in last}
    metadata["usageCaptureStatus"] = "partial" if partial else "complete"
    return metadata if len(each) == 1 else metadata | {"models": each}
