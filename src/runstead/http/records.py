"""Pausing a run, naming it, deleting it, and what it used."""

import re
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from runstead.commands import records as commands
from runstead.core.errors import Error
from runstead.core.runs.transitions import IfMatch
from runstead.core.usage.usage import Usage
from runstead.http.create_bodies import Labels
from runstead.http.framework.endpoint import Call, Nothing, Reply, Routes
from runstead.http.framework.values import Text, json_object
from runstead.http.run_view import RunView, run_view
from runstead.http.runs import MISSING, InProject, run_ref, tagged
from runstead.http.waits import RunAnswer

routes = Routes("Runs")


@routes.route(
    "POST",
    "/runs/{run_id}/pause",
    query=InProject,
    answer=RunAnswer,
    errors=(*MISSING, "RUN_NOT_ACTIVE", "RUN_ALREADY_WAITING", "STORE_BUSY", "STORE_UNAVAILABLE"),
)
async def pause(call: Call[Nothing, InProject]) -> Reply:
    """Hold a run back until it is resumed with the type `unpause`.

    A worker that has it loses its lease, which does not count as a lost attempt. A paused run stays paused.
    """
    return await call.idempotent(
        lambda idempotency: commands.pause(call.app, call.principal, run_ref(call), idempotency),
        lambda written: Reply(200, RunAnswer(run_view(written.run))),
    )


class UpdateRun(msgspec.Struct, frozen=True, kw_only=True):
    """What is left out stays; null takes it away. `labels` are replaced whole."""

    title: Text | msgspec.UnsetType | None = msgspec.UNSET
    labels: Labels | msgspec.UnsetType | None = msgspec.UNSET


_TAGS: Final = re.compile(r'(W/)?"([\x21\x23-\x7e]*)"')
#: Entity-tags in double quotes, separated by commas, or *.
IF_MATCH: Final = rf"^\s*(\*|{_TAGS.pattern}(\s*,\s*{_TAGS.pattern})*)\s*$"
_OURS: Final = re.compile(r"([0-9]{1,16})\.[0-9]{1,16}\.[0-9]{1,16}")


def _parse_if_match(if_match: str | None) -> IfMatch | None:
    """What an If-Match names (RFC 9110, 13.1.1). The counters of the runs below are no part of what is changed here: a
    new child spoils nobody's edit.
    """
    if if_match is None:
        return None
    if if_match.strip() == "*":
        return IfMatch(any=True)
    if not re.fullmatch(IF_MATCH, if_match):
        raise Error(
            "INVALID_REQUEST", "If-Match holds entity-tags in double quotes, separated by commas, or *"
        )
    ours = (_OURS.fullmatch(tag) for weak, tag in _TAGS.findall(if_match) if not weak)
    return IfMatch(frozenset(int(match[1]) for match in ours if match is not None))


@routes.route(
    "PATCH",
    "/runs/{run_id}",
    body=UpdateRun,
    query=InProject,
    answer=RunView,
    errors=(*MISSING, "PRECONDITION_FAILED", "PRECONDITION_REQUIRED", "STORE_BUSY", "STORE_UNAVAILABLE"),
)
async def update(call: Call[UpdateRun, InProject]) -> Reply:
    """Set a run's title and labels, in any state, where it is still as `If-Match` says."""
    if_match = _parse_if_match(call.header(b"if-match"))
    names: dict[str, str | bytes | None] = {}
    if call.body.title is not msgspec.UNSET:
        names["title"] = call.body.title
    if call.body.labels is not msgspec.UNSET:
        names["labels"] = json_object(call.body.labels or None)
    return await call.idempotent(
        lambda idempotency: commands.rename(
            call.app, call.principal, run_ref(call), names, if_match, idempotency
        ),
        lambda written: tagged(written.run),
    )


class Deleted(msgspec.Struct, frozen=True):
    deleted: Literal[True]
    run_id: str


@routes.route(
    "DELETE",
    "/runs/{run_id}",
    query=InProject,
    answer=Deleted,
    errors=(*MISSING, "RUN_NOT_TERMINAL", "RUN_HAS_CHILDREN", "STORE_BUSY", "STORE_UNAVAILABLE"),
)
async def delete(call: Call[Nothing, InProject]) -> Reply:
    """Delete an ended run without runs below it, with its events and all that belongs to it. Needs the scope admin."""
    written = await commands.delete(call.app, call.principal, run_ref(call))
    return Reply(200, Deleted(True, written.run.run_id))


class ModelUsage(msgspec.Struct, frozen=True):
    """What one model used over some runs. Null where the completions named none."""

    provider: str | None
    model: str | None
    runs: int
    input_tokens: int
    output_tokens: int
    cached_input_tokens: int
    reasoning_tokens: int
    total_tokens: int


class Captures(msgspec.Struct, frozen=True):
    """How many runs reported how well. Where a completion did not say: complete with both input and output tokens."""

    complete: int
    partial: int
    missing: int


class UsageView(msgspec.Struct, frozen=True):
    """A sum over `runs`, of which `ended_runs` have ended and `reported_runs` came with metadata."""

    runs: int
    ended_runs: int
    reported_runs: int
    usage_capture_status: Literal["complete", "partial", "missing"] | None
    captures: Captures
    input_tokens: int
    output_tokens: int
    cached_input_tokens: int
    reasoning_tokens: int
    total_tokens: int
    by_model: Annotated[list[ModelUsage], Meta(description="Most tokens first, 1,000 models at most.")]


class FamilyUsageView(msgspec.Struct, frozen=True):
    """Of the run alone, of it and all below it, and of its whole family from the root."""

    run_id: str
    root_run_id: str
    run: UsageView
    subtree: UsageView
    family: UsageView


def _usage_view(usage: Usage) -> UsageView:
    tokens = usage.tokens
    return UsageView(
        usage.runs,
        usage.ended,
        usage.reported,
        usage.capture,
        Captures(**usage.captures),
        tokens.input_tokens,
        tokens.output_tokens,
        tokens.cached_input_tokens,
        tokens.reasoning_tokens,
        tokens.total,
        [
            ModelUsage(
                provider,
                model,
                count,
                used.input_tokens,
                used.output_tokens,
                used.cached_input_tokens,
                used.reasoning_tokens,
                used.total,
            )
            for provider, model, count, used in usage.by_model()
        ],
    )


@routes.route("GET", "/runs/{run_id}/usage", query=InProject, answer=FamilyUsageView, errors=MISSING)
async def usage(call: Call[Nothing, InProject]) -> Reply:
    """The tokens that a run and its family used, by model, as its completions reported them."""
    run, found = await commands.usage(call.app, call.principal, run_ref(call))
    views = map(_usage_view, found)
    return Reply(200, FamilyUsageView(run.run_id, run.root_run_id, *views))
