"""Options that several commands have."""

from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from cyclopts import Parameter

from runstead.cli.shared.parsing import check_targets, label_filters, parse_debounce, parse_time, parse_unique

Database = Annotated[
    str | None, Parameter(help="postgresql://… or sqlite:///<path>; else RUNSTEAD_DATABASE_URL")
]
AsJson = Annotated[bool, Parameter(name="--json", help="Print JSON")]
RunId = Annotated[str, Parameter(help="The run's id")]
Yes = Annotated[bool, Parameter(name=("--yes", "-y"), help="Do not ask")]
Status = Literal["pending", "running", "waiting", "completed", "failed", "cancelled"]
Kind = Literal["agent", "workflow", "task", "eval"]


def _refuse_options(_: type, value: str | None) -> None:
    """A number may begin with a hyphen. An option that does not exist is not taken for a text."""
    if value is not None and value.startswith("--"):
        raise ValueError("There is no such option. A text that begins with -- can be given as @file.")


#: A value that `json_or_text` reads.
JsonOrText = Annotated[
    str | None,
    Parameter(
        allow_leading_hyphen=True, validator=_refuse_options, help="JSON or text; @file or - for stdin"
    ),
]
#: The two options that `read_config` reads.
Config = Annotated[list[str] | None, Parameter(help="name=value, the value JSON, text or @file; may repeat")]
ConfigJson = Annotated[
    str | None, Parameter(allow_leading_hyphen=True, help="A JSON object, @file or - for stdin")
]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class RunSelection:
    """The options of commands that choose runs."""

    status: Annotated[list[Status] | None, Parameter(help="May repeat")] = None
    kind: Annotated[list[Kind] | None, Parameter(help="May repeat")] = None
    target: Annotated[list[str] | None, Parameter(help="Such as task:sum; may repeat")] = None
    label: Annotated[list[str] | None, Parameter(help="name=value; may repeat")] = None
    batch: Annotated[str | None, Parameter(help="Only runs of this batch")] = None
    schedule: Annotated[str | None, Parameter(help="Only runs of this schedule")] = None
    parent: Annotated[str | None, Parameter(help="Only children of this run")] = None
    root_only: Annotated[bool, Parameter(help="Only runs without a parent")] = False
    search: Annotated[str | None, Parameter(help="Text in id, title, target, labels or error")] = None
    since: Annotated[str | None, Parameter(help="Created after: a time, or a duration such as 2h")] = None
    until: Annotated[str | None, Parameter(help="Created before: a time, or a duration such as 2h")] = None

    def filters(self) -> dict[str, Any]:
        """The filters of the API that are set. Ends the program for an invalid one."""
        check_targets(self.target)
        filters: dict[str, Any] = {
            "status": self.status,
            "kind": self.kind,
            "target": self.target,
            "label": label_filters(self.label),
            "batch_id": self.batch,
            "schedule_id": self.schedule,
            "parent_run_id": self.parent,
            "root_only": self.root_only or None,
            "q": self.search,
            "created_after": parse_time("--since", self.since),
            "created_before": parse_time("--until", self.until),
        }
        return {name: one for name, one in filters.items() if one is not None}


EVERY_RUN: Final = RunSelection()


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class FlowControl:
    """The options of commands that create runs, or triggers of runs, with keys."""

    concurrency_key: Annotated[
        str | None, Parameter(help="Runs of the target with this key may be limited, and keys take turns")
    ] = None
    unique: Annotated[
        str | None, Parameter(help="A key: the active run of the target with it is returned instead")
    ] = None
    unique_for: Annotated[
        str | None, Parameter(help="With --unique: the run created within this duration, such as 1h")
    ] = None
    debounce: Annotated[
        str | None, Parameter(help="A key: the pending run with it gets this input instead")
    ] = None
    debounce_for: Annotated[
        str | None, Parameter(help="With --debounce: how long the run waits for later input, such as 30s")
    ] = None
    debounce_max: Annotated[str | None, Parameter(help="With --debounce: the longest wait, such as 5m")] = (
        None
    )

    def members(self) -> dict[str, Any]:
        """The members of the API's request, None where an option is missing. Ends the program for invalid ones."""
        return {
            "concurrency_key": self.concurrency_key,
            "unique": parse_unique(self.unique, self.unique_for),
            "debounce": parse_debounce(self.debounce, self.debounce_for, self.debounce_max),
        }


NO_FLOW_CONTROL: Final = FlowControl()
