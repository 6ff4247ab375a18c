"""The output of the demo: one line per event, checks and run objects. All information is in the text, not in colours."""

import io
import json
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from checks import Check
from runstead.sdk.models.event import Event

#: Styles by prefix of the event type. The first match counts.
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
#: Members that only identify the message, call or run of an event.
_NAMES: Final = frozenset(
    {"type", "messageId", "toolCallId", "runId", "threadId", "role", "metadata", "value", "rawEvent"}
)
_SHOWN: Final = (
    "Every event was stored before its worker got the answer.",
    "Every stream sent all events of its run, in order, as they were stored.",
    "A cancel stopped a handler while it was running.",
    "Another worker finished the run of a killed worker, and continued after its last stored event.",
    "Each run ended exactly once.",
)


class Terminal:
    def __init__(self) -> None:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="replace", line_buffering=True)
        self._console = Console(highlight=False)
        # On a narrow screen the event's text is more useful than aligned columns.
        self._type_columns = 25 if self._console.width >= 100 or not self._console.is_terminal else 20
        self.failures = 0
        self.waits_for_reader = False

    def print(self, text: str = "", style: str = "") -> None:
        self._print(Text(text, style))

    def title(self, text: str) -> None:
        self._console.print()
        self._print(Text(f"── {text}", "bold"))

    def note(self, text: str) -> None:
        """Print what the demo itself does, between the events."""
        self._print(Text(text, "italic"), indent=3)

    def dashboard(self, url: str, key: str, then: str) -> None:
        """Print the address of the dashboard, and how to sign in."""
        self.waits_for_reader = True
        self.title("Look at these runs in a browser")
        self._print(Text(f"{url}/ui", "bold underline"), indent=3)
        self.note(f"Sign in with the key {key}")
        self.note(then)

    def event(self, event: Event, since: datetime, now: datetime) -> None:
        """Print an event. The first column is the time in seconds since the run was created."""
        style = next((style for begin, style in _STYLES if event.event_type.startswith(begin)), "")
        line = Text()
        line.append(f"{(now - since).total_seconds():6.2f}s", "bright_black")
        line.append(f"{event.event_id:>4}  ", "bold")
        line.append(event.event_type, style)
        text = describe(event.payload)
        if text:
            line.append(" " * (self._type_columns - len(event.event_type)) + "  ")
            line.append(text)
        # An event is one line: cut on a screen, complete in a pipe.
        cut = self._console.is_terminal
        self._console.print(line, no_wrap=True, overflow="ellipsis" if cut else "ignore", crop=cut)

    def run(self, run: Mapping[str, Any]) -> None:
        """Print the run as the server returns it, without the members that are null."""
        members = {name: value for name, value in run.items() if value is not None}
        self.print()
        self.note(f"GET /runs/{run['run_id']}, without null members")
        self._console.print_json(json.dumps(members, ensure_ascii=False), indent=2)
        self.print()

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
        self.print("   Try next   make serve   a server that stays up, with its own key")
        self.print("   Read       README.md    one run with curl; docs/ is the documentation")

    def output_of(self, name: str, text: str) -> None:
        self.title(f"stderr of {name}")
        self.print(text)

    def _print(self, text: Text, indent: int = 0) -> None:
        """Print a line. On a screen a long line is folded with its indent; in a pipe it stays one line."""
        if self._console.is_terminal:
            self._console.print(Padding(text, (0, 0, 0, indent)))
        else:
            self._console.print(Text(" " * indent).append_text(text), soft_wrap=True)


def describe(payload: Mapping[str, Any]) -> str:
    """Describe an event in a few words."""
    value = payload.get("value")
    members = value if isinstance(value, dict) else {}
    words = [str(payload[name]) for name in payload if name not in _NAMES]
    if "delta" in payload and not payload["type"].startswith("TOOL_CALL"):
        words = [json.dumps(payload["delta"], ensure_ascii=False)]
    usage = payload.get("metadata")
    if isinstance(usage, dict):
        members = {name: usage.get(name) for name in ("model", "inputTokens", "outputTokens")}
    return " ".join([*words, *(f"{name}={value}" for name, value in members.items())])
