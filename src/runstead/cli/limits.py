"""`runstead limits …`: concurrency limits."""

from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec
from cyclopts import App, Parameter

from runstead.cli.shared.command import Client, Output, command, listed, one_line
from runstead.cli.shared.exit_codes import USAGE
from runstead.cli.shared.output import fail
from runstead.cli.shared.parsing import parse_seconds
from runstead.cli.shared.render import Column, format_duration

if TYPE_CHECKING:
    from runstead.sdk.models.project import ConcurrencyLimit, Rate

#: The name of the project's own limit. It cannot be a target, which contains a colon.
PROJECT: Final = "project"
Target = Annotated[str, Parameter(help="Target such as task:sum, or `project` for all runs of the project")]

limits = App(name="limits", help="Concurrency limits of running runs.")


@command(limits, "list", project=True)
def list_limits(client: Client) -> Output:
    """List a project's concurrency limits and the numbers of running runs."""
    found = client.limits.get().limits
    columns: list[Column[ConcurrencyLimit]] = [
        Column("TARGET", lambda one: one.target or PROJECT),
        Column("RUNNING", lambda one: str(one.running), number=True),
        Column("LIMIT", lambda one: _number(one.max_running), number=True),
        Column("PER KEY", lambda one: _number(one.max_running_per_key), number=True),
        Column("RATE", lambda one: "" if one.rate is None else _rate(one.rate)),
        Column("LEFT", lambda one: _number(one.rate_left), number=True),
    ]
    return listed(found, columns, "limits")


@command(limits, "set", project=True)
def set_limit(
    client: Client,
    target: Target,
    most: Annotated[int | None, "0 to 10,000; 0 stops new runs from starting"] = None,
    /,
    *,
    per_key: Annotated[int | None, "The maximum of each concurrency key of the target"] = None,
    rate: Annotated[str | None, "How many runs may start in a time, such as 100/1m"] = None,
    rate_per_key: Annotated[bool, "With --rate: of each concurrency key of the target"] = False,
    rate_unit: Annotated[
        Literal["runs", "tokens"] | None,
        "With --rate: what it counts, runs or the tokens of models that they use",
    ] = None,
) -> Output:
    """Set how many runs of a target, or of each of its keys, may run, or start in a time, or how many tokens of models they
    may use. Running runs continue.
    """
    name = _name(target)
    if most is None and per_key is None and rate is None:
        fail("give a number, --per-key or --rate", USAGE)
    for option, given in (("--rate-per-key", rate_per_key), ("--rate-unit", rate_unit)):
        if given and rate is None:
            fail(f"{option} needs --rate", USAGE)
    wanted = None
    if rate is not None:
        wanted = _parse_rate(rate) | {"per_key": rate_per_key, "unit": rate_unit or "runs"}
    known = {one.target: one for one in client.limits.get().limits}.get(name)
    if known is not None:
        most = known.max_running if most is None else most
        per_key = known.max_running_per_key if per_key is None else per_key
        wanted = msgspec.to_builtins(known.rate) if wanted is None else wanted
    found = client.limits.set(name, max_running=most, max_running_per_key=per_key, rate=wanted).limits
    (one,) = (one for one in found if one.target == name)
    bounds = [] if one.max_running is None else [f"{one.max_running} at most"]
    bounds += [] if one.max_running_per_key is None else [f"{one.max_running_per_key} of a key"]
    bounds += [] if one.rate is None else [_rate(one.rate)]
    return one_line(one, f"{target}  {', '.join(bounds)}, {one.running} running")


@command(limits, "delete", project=True)
def delete_limit(client: Client, target: Target, /) -> Output:
    """Delete a limit."""
    name = _name(target)
    known = {one.target for one in client.limits.get().limits}
    if name not in known:
        names = ", ".join(sorted(one or PROJECT for one in known)) or "none"
        fail(f"there is no limit on {target}; there are limits on: {names}")
    client.limits.set(name)
    return one_line({"deleted": True, "target": name}, f"{target}  deleted")


def _name(target: str) -> str | None:
    return None if target == PROJECT else target


def _parse_rate(text: str) -> dict[str, Any]:
    """100/1m → the members of a rate."""
    number, _, period = text.partition("/")
    if not (number.isascii() and number.isdigit() and period):
        fail(f"--rate must be a number and a duration, such as 100/1m, not {text!r}", USAGE)
    return {"limit": int(number), "period_seconds": parse_seconds("--rate", period)}


def _rate(rate: "Rate") -> str:
    of_key = " of a key" if rate.per_key else ""
    unit = " tokens" if rate.unit == "tokens" else ""
    return f"{rate.limit}{unit}/{format_duration(rate.period_seconds)}{of_key}"


def _number(limit: int | None) -> str:
    return "" if limit is None else str(limit)
