"""`runstead limits …`: how many runs may run at a time."""

from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import App, Parameter

from runstead.cli.app import AsJson
from runstead.cli.shared.connection import UNSAID, Reach, connected
from runstead.cli.shared.output import refuse, say

if TYPE_CHECKING:
    from runstead.sdk import ConcurrencyLimit

#: How the limit of all runs together is named; a target always has a colon.
WHOLE: Final = "project"
Target = Annotated[str, Parameter(help="Like task:sum, or `project` for all its runs together")]

limits = App(name="limits", help="How many runs may run at a time.")


@limits.command(name="list")
def list_limits(*, reach: Reach = UNSAID, json: AsJson = False) -> None:
    """List a project's limits on running runs, and how many run now."""
    from runstead.cli.shared.render import Column  # noqa: PLC0415
    from runstead.cli.shared.run_tables import print_list  # noqa: PLC0415

    with connected(reach, project=True) as client:
        found = client.get_concurrency_limits().limits
    columns: list[Column[ConcurrencyLimit]] = [
        Column("TARGET", lambda one: one.target or WHOLE),
        Column("RUNNING", lambda one: str(one.running), number=True),
        Column("MOST", lambda one: str(one.max_running), number=True),
    ]
    print_list(found, columns, "limits", json=json)


@limits.command(name="set")
def set_limit(
    target: Target,
    most: Annotated[int, Parameter(help="0 to 10,000; 0 holds all back")],
    /,
    *,
    reach: Reach = UNSAID,
    json: AsJson = False,
) -> None:
    """Let at most so many runs of a target run at a time. What runs already runs on."""
    from runstead.cli.shared.render import document, safe  # noqa: PLC0415

    name = _name(target)
    with connected(reach, project=True) as client:
        known = {one.target: one.max_running for one in client.get_concurrency_limits().limits}
        found = client.put_concurrency_limits(known | {name: most}).limits
    (one,) = (one for one in found if one.target == name)
    say(document(one) if json else f"{safe(target)}  {one.max_running} at most, {one.running} running")


@limits.command(name="delete")
def delete_limit(target: Target, /, *, reach: Reach = UNSAID, json: AsJson = False) -> None:
    """Take a limit away."""
    from runstead.cli.shared.render import document, safe  # noqa: PLC0415

    name = _name(target)
    with connected(reach, project=True) as client:
        known = {one.target: one.max_running for one in client.get_concurrency_limits().limits}
        if name not in known:
            told = ", ".join(sorted(one or WHOLE for one in known)) or "none"
            refuse(f"there is no limit on {target}; there are limits on: {told}")
        del known[name]
        client.put_concurrency_limits(known)
    say(document({"deleted": True, "target": name}) if json else f"{safe(target)}  deleted")


def _name(target: str) -> str | None:
    return None if target == WHOLE else target
