"""What models used, as completions reported it."""

import msgspec

from runstead.sdk.answer import Answer


class ModelUsage(Answer, frozen=True, kw_only=True):
    """Cached input tokens are part of the input, reasoning tokens part of the output."""

    provider: str | None = None
    model: str | None = None
    runs: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int = 0
    reasoning_tokens: int = 0
    total_tokens: int = 0


class UsageSum(Answer, frozen=True, kw_only=True):
    """Over `runs`. `usage_capture_status` is complete, partial or missing, None where no run reported anything."""

    runs: int = 0
    ended_runs: int = 0
    reported_runs: int = 0
    usage_capture_status: str | None = None
    captures: dict[str, int] = msgspec.field(default_factory=dict)
    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int = 0
    reasoning_tokens: int = 0
    total_tokens: int = 0
    by_model: list[ModelUsage] = msgspec.field(default_factory=list)


class Usage(Answer, frozen=True, kw_only=True):
    """Of the run alone, of it and all below it, and of its whole family from the root."""

    run_id: str
    root_run_id: str
    run: UsageSum
    subtree: UsageSum
    family: UsageSum
