"""What the demo prints: one line per event, checks, run objects. The words say it all; colour only helps."""

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from checks import Check
from runstead.sdk import Event

#: By how a type's name begins; the first that fits.
_STYLES: Final = (
    ("RUN_FINISHED", "bold green"),
    ("RUN_ERROR", "bold red"),
    ("RUN", "bold"),
    ("STEP", "green"),
    ("REASONING", "magenta"),
    ("TOOL_CALL", "yellow"),
    ("TEXT_MESSAGE", "cyan"),
    ("CUSTOM", "bright_blue"),
)
#: Members that only say which message, call or run an event belongs to.
_NAMES: Final = frozenset(
    {"type", "messageId", "toolCallId", "runId", "threadId", "role", "metadata", "value", "rawEvent"}
)
_SHOWN: Final = (
    "Every event was stored before its worker was told that it was.",
    "Every stream told all events of its run, as they came and in order.",
    "A cancel stopped a worker at its work.",
    "A killed worker's run was finished by another, from where the log had got to.",
    "Each run ended once, and for good.",
)


class Terminal:
    def __init__(self) -> None:
        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(errors="replace", line_buffering=True)
        self._console = Console(highlight=False)
        # On a narrow screen what an event says is worth more than that the longest types line up.
        self._type_columns = 25 if self._console.width >= 100 or not self._console.is_terminal else 20
        self.failures = 0
        self.waits = False  # for the reader, who may look around

    def say(self, text: str = "", style: str = "") -> None:
        self._print(Text(text, style))

    def title(self, text: str) -> None:
        self._console.print()
        self._print(Text(f"── {text}", "bold"))

    def note(self, text: str) -> None:
        """Something that the demo itself does, between the events."""
        self._print(Text(text, "italic"), indent=3)

    def dashboard(self, url: str, key: str, then: str) -> None:
        """Where the demo's runs can be looked at."""
        self.waits = True
        self.title("Look at these runs in a browser")
        self._print(Text(f"{url}/ui", "bold underline"), indent=3)
        self.note(f"Sign in with the key {key}")
        self.note(then)

    def event(self, event: Event, since: datetime, now: datetime) -> None:
        """`since` is when the run was created: the first column counts the seconds from then."""
        style = next((style for begin, style in _STYLES if event.event_type.startswith(begin)), "")
        line = Text()
        line.append(f"{(now - since).total_seconds():6.2f}s", "bright_black")
        line.append(f"{event.event_id:>4}  ", "bold")
        line.append(event.event_type, style)
        told = describe(event.payload)
        if told:
            line.append(" " * (self._type_columns - len(event.event_type)) + "  ")
            line.append(told)
        # A line is a line: cut on a screen, whole in a pipe.
        cut = self._console.is_terminal
        self._console.print(line, no_wrap=True, overflow="ellipsis" if cut else "ignore", crop=cut)

    def run(self, run: Mapping[str, Any]) -> None:
        """The run as the server answers it, without the members that are null."""
        told = {name: value for name, value in run.items() if value is not None}
        self.say()
        self.note(f"GET /runs/{run['run_id']}, without null members")
        self._console.print_json(json.dumps(told, ensure_ascii=False), indent=2)
        self.say()

    def checks(self, checks: Sequence[Check]) -> None:
        for check in checks:
            self.failures += not check.ok
            word, style = ("ok", "green") if check.ok else ("NOT AS EXPECTED", "bold red")
            self._print(Text.assemble((word, style), f"  {check}"), indent=3)

    def failure(self, what: str) -> None:
        self.failures += 1
        self._console.print()
        self._print(Text.assemble(("NOT AS EXPECTED", "bold red"), f"  {what}"), indent=3)

    def summary(self, took_s: float) -> None:
        self.title(f"All as expected, in {took_s:.0f} s")
        for line in _SHOWN:
            self._print(Text(line), indent=3)
        self._console.print()
        self.say("   Try next   make serve   a server that stays, with a key of its own")
        self.say("   Read       README.md    one run by hand, with curl; docs/ tells the rest")

    def output_of(self, name: str, text: str) -> None:
        self.title(f"stderr of {name}")
        self.say(text)

    def _print(self, text: Text, indent: int = 0) -> None:
        """On a screen long lines are folded with their indent, in a pipe they stay whole."""
        if self._console.is_terminal:
            self._console.print(Padding(text, (0, 0, 0, indent)))
        else:
            self._console.print(Text(" " * indent).append_text(text), soft_wrap=True)


def describe(payload: Mapping[str, Any]) -> str:
    """What an event says, in as few words as it takes."""
    value = payload.get("value")
    members = value if isinstance(value, dict) else {}
    said = [str(payload[name]) for name in payload if name not in _NAMES]
    if "delta" in payload and not payload["type"].startswith("TOOL_CALL"):
        said = [json.dumps(payload["delta"], ensure_ascii=False)]
    usage = payload.get("metadata")
    if isinstance(usage, dict):
        members = {name: usage.get(name) for name in ("model", "inputTokens", "outputTokens")}
    return " ".join([*said, *(f"{name}={told}" for name, told in members.items())])
