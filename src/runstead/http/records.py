"""Pause, rename and delete a run, and read its usage."""

import re
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta
from msgspec.structs import asdict

from runstead.commands import records as commands
from runstead.core.errors import Error
from runstead.core.runs.transitions import IfMatch
from runstead.core.usage.usage import Tokens, Usage
from runstead.http.answers import answer_of
from runstead.http.arguments import on_run
from runstead.http.create_bodies import Labels
from runstead.http.framework.endpoint import Call, Nothing, Reply, Routes
from runstead.http.framework.values import Text, json_object
from runstead.http.framework.views import view_of
from runstead.http.run_view import RunView, run_view
from runstead.http.runs import MISSING, InProject
from runstead.http.waits import RunAnswer, run_answer

routes = Routes("Runs")


@routes.route(
    "POST",
    "/runs/{run_id}/pause",
    query=InProject,
    answer=RunAnswer,
    errors=(*MISSING, "RUN_NOT_ACTIVE", "RUN_ALREADY_WAITING", "STORE_BUSY", "STORE_UNAVAILABLE"),
)
async def pause(call: Call[Nothing, InProject]) -> Reply:
    """Pause a run until it is resumed with the type `unpause`.

    A worker that holds the run loses its lease, which does not count as a failed attempt. Pausing a paused
    run changes nothing.
    """
    return await call.idempotent(lambda record: commands.pause(*on_run(call), record), run_answer)


class UpdateRun(msgspec.Struct, frozen=True, kw_only=True):
    """Members that are left out are not changed; null removes a member. `labels` are replaced as a whole."""

    title: Text | msgspec.UnsetType | None = msgspec.UNSET
    labels: Labels | msgspec.UnsetType | None = msgspec.UNSET


_ENTITY_TAG: Final = re.compile(r'(W/)?"([\x21\x23-\x7e]*)"')
#: Entity-tags in double quotes, separated by commas, or *.
IF_MATCH: Final = rf"^\s*(\*|{_ENTITY_TAG.pattern}(\s*,\s*{_ENTITY_TAG.pattern})*)\s*$"
_OWN_TAG: Final = re.compile(r"([0-9]{1,16})\.[0-9]{1,16}\.[0-9]{1,16}(?:\.[0-9]{1,16})?(?:-gzip)?")


def _parse_if_match(if_match: str | None) -> IfMatch | None:
    """Parse If-Match (RFC 9110, 13.1.1). Raises INVALID_REQUEST.

    Only the version part of a tag is compared, not the counters of descendants, so a new child does not
    conflict.
    """
    if if_match is None:
        return None
    if if_match.strip() == "*":
        return IfMatch(any=True)
    if not re.fullmatch(IF_MATCH, if_match):
        raise Error(
            "INVALID_REQUEST", "If-Match must be * or entity-tags in double quotes, separated by commas"
        )
    own = (_OWN_TAG.fullmatch(tag) for weak, tag in _ENTITY_TAG.findall(if_match) if not weak)
    return IfMatch(frozenset(int(match[1]) for match in own if match is not None))


@routes.route(
    "PATCH",
    "/runs/{run_id}",
    body=UpdateRun,
    query=InProject,
    answer=RunView,
    errors=(*MISSING, "PRECONDITION_FAILED", "PRECONDITION_REQUIRED", "STORE_BUSY", "STORE_UNAVAILABLE"),
    tagged=True,
)
async def update(call: Call[UpdateRun, InProject]) -> Reply:
    """Set a run's title and labels, in any state, if it still matches `If-Match`."""
    if_match = _parse_if_match(call.header(b"if-match"))
    names: dict[str, str | bytes | None] = {}
    if call.body.title is not msgspec.UNSET:
        names["title"] = call.body.title
    if call.body.labels is not msgspec.UNSET:
        names["labels"] = json_object(call.body.labels or None)
    return await call.idempotent(
        lambda record: commands.rename(*on_run(call), names, if_match, record),
        lambda written: Reply(200, run_view(written.run)),
    )


Deleted = answer_of("Deleted", deleted=Literal[True], run_id=str)


@routes.route(
    "DELETE",
    "/runs/{run_id}",
    query=InProject,
    answer=Deleted,
    errors=(*MISSING, "RUN_NOT_TERMINAL", "RUN_HAS_CHILDREN", "STORE_BUSY", "STORE_UNAVAILABLE"),
)
async def delete(call: Call[Nothing, InProject]) -> Reply:
    """Delete an ended run without children, with its events and all that belongs to it.

    Needs the scope admin.
    """
    written = await commands.delete(*on_run(call))
    return Reply(200, Deleted(True, written.run.run_id))


class ModelUsage(msgspec.Struct, frozen=True):
    """The usage of a model in some runs. Provider and model are null if the completions named none."""

    provider: str | None
    model: str | None
    runs: int
    input_tokens: int
    output_tokens: int
    cached_input_tokens: int
    reasoning_tokens: int
    total_tokens: int


class Captures(msgspec.Struct, frozen=True):
    """The number of runs by completeness of their usage.

    A completion without a `usageCaptureStatus` counts as complete if it has both input and output tokens.
    """

    complete: int
    partial: int
    missing: int


class UsageView(msgspec.Struct, frozen=True):
    """The usage of `runs` runs. `ended_runs` of them have ended, `reported_runs` reported usage."""

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
    by_model: Annotated[list[ModelUsage], Meta(description="Most tokens first, at most 1,000 models.")]


class FamilyUsageView(msgspec.Struct, frozen=True):
    """The usage of the run, of the run with its descendants (`subtree`), and of its whole family."""

    run_id: str
    root_run_id: str
    run: UsageView
    subtree: UsageView
    family: UsageView


def token_members(tokens: Tokens) -> dict[str, int]:
    """Return the members of views that show tokens."""
    return {**asdict(tokens), "total_tokens": tokens.total}


def _usage_view(usage: Usage) -> UsageView:
    return view_of(
        UsageView,
        usage,
        ended_runs=usage.ended,
        reported_runs=usage.reported,
        usage_capture_status=usage.capture,
        captures=Captures(**usage.captures),
        **token_members(usage.tokens),
        by_model=[
            ModelUsage(provider=provider, model=model, runs=runs, **token_members(tokens))
            for provider, model, runs, tokens in usage.by_model()
        ],
    )


@routes.route("GET", "/runs/{run_id}/usage", query=InProject, answer=FamilyUsageView, errors=MISSING)
async def usage(call: Call[Nothing, InProject]) -> Reply:
    """Get the tokens of a run and its family by model, as reported by the completions."""
    run, found = await commands.usage(*on_run(call))
    views = map(_usage_view, found)
    return Reply(200, FamilyUsageView(run.run_id, run.root_run_id, *views))
