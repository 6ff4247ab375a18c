"""Token usage of a run and its family, from the metadata of completions (contract A3, part C)."""

from collections.abc import Iterable
from typing import Final, Literal, NamedTuple

import msgspec
from msgspec.structs import astuple

from runstead.core import limits

Capture = Literal["complete", "partial", "missing"]


class Reported(msgspec.Struct, frozen=True, rename="camel"):
    """The usage members of a completion's metadata. Names are cut at `limits.name_chars_max`."""

    provider: str | None = None
    model: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_input_tokens: int | None = None
    reasoning_tokens: int | None = None
    usage_capture_status: Capture | None = None

    @property
    def capture(self) -> Capture:
        """The reported status, or one derived from the presence of the input and output tokens."""
        if self.usage_capture_status is not None:
            return self.usage_capture_status
        counts = (self.input_tokens, self.output_tokens)
        if None not in counts:
            return "complete"
        return "missing" if counts == (None, None) else "partial"

    @property
    def tokens(self) -> "Tokens":
        """The token counts, each within its bounds."""
        tokens = Tokens()
        tokens.add(self)
        return Tokens(*(max(0, min(count, limits.tokens_per_run_max)) for count in astuple(tokens)))


def read(metadata: bytes) -> Reported:
    """Read the reported usage from a completion's metadata (JSON text)."""
    reported = msgspec.json.decode(metadata, type=Reported, strict=False)  # a count may be written 7.0
    most = limits.name_chars_max
    provider, model = (name and name[:most] for name in (reported.provider, reported.model))
    return msgspec.structs.replace(reported, provider=provider, model=model)


class RunUsage(NamedTuple):
    """A run of a family: its seq, the path of its ancestors, whether it has ended, and its reported usage, if any."""

    seq: int
    path: str
    ended: bool
    reported: Reported | None


class Tokens(msgspec.Struct):
    """Token counts.

    Cached input tokens are part of the input tokens, reasoning tokens part of the output tokens.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int = 0
    reasoning_tokens: int = 0

    def add(self, reported: Reported) -> None:
        self.input_tokens += reported.input_tokens or 0
        self.output_tokens += reported.output_tokens or 0
        self.cached_input_tokens += reported.cached_input_tokens or 0
        self.reasoning_tokens += reported.reasoning_tokens or 0

    def join(self, other: "Tokens") -> None:
        self.input_tokens += other.input_tokens
        self.output_tokens += other.output_tokens
        self.cached_input_tokens += other.cached_input_tokens
        self.reasoning_tokens += other.reasoning_tokens

    @property
    def total(self) -> int:
        return self.input_tokens + self.output_tokens


class Usage:
    """The usage of several runs: how many there are, have `ended` and have `reported`, and how completely (`captures`)."""

    def __init__(self) -> None:
        self.runs = 0
        self.ended = 0
        self.captures: dict[Capture, int] = {"complete": 0, "partial": 0, "missing": 0}
        self.tokens = Tokens()
        self.models: dict[tuple[str | None, str | None], tuple[int, Tokens]] = {}

    def add(self, run: RunUsage) -> None:
        self.runs += 1
        self.ended += run.ended
        if run.reported is None:
            return
        self.captures[run.reported.capture] += 1
        self.tokens.add(run.reported)
        key = (run.reported.provider, run.reported.model)
        count, tokens = self.models.get(key, (0, Tokens()))
        tokens.add(run.reported)
        self.models[key] = count + 1, tokens

    @property
    def reported(self) -> int:
        return sum(self.captures.values())

    @property
    def capture(self) -> Capture | None:
        """`complete` or `missing` if all reports are, else `partial`. None without reports."""
        present: list[Capture] = [capture for capture, count in self.captures.items() if count]
        if len(present) == 1:
            return present[0]
        return "partial" if present else None

    def by_model(self) -> list[tuple[str | None, str | None, int, Tokens]]:
        """(provider, model, runs, tokens), most tokens first, at most `limits.usage_models_max`."""
        rows = [(*key, count, tokens) for key, (count, tokens) in self.models.items()]
        rows.sort(key=lambda row: (-row[3].total, row[0] or "", row[1] or ""))
        return rows[: limits.usage_models_max]


class FamilyUsage(NamedTuple):
    """The usage of a run, of the run with its descendants (`subtree`), and of its whole family."""

    run: Usage
    subtree: Usage
    family: Usage


def tally(seq: int, family: Iterable[RunUsage]) -> FamilyUsage:
    """Sum up the usage of a family. `seq` is one of its runs."""
    sums: Final = FamilyUsage(Usage(), Usage(), Usage())
    step = f"/{seq}/"
    for run in family:
        sums.family.add(run)
        if run.seq == seq:
            sums.run.add(run)
            sums.subtree.add(run)
        elif step in run.path:
            sums.subtree.add(run)
    return sums
