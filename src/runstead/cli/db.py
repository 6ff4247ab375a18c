"""`runstead db …`."""

import sys
from typing import TYPE_CHECKING

from cyclopts import App

from runstead.cli.answers import run, say, show
from runstead.cli.app import AsJson, Database, app

if TYPE_CHECKING:
    from runstead.invariants import Violation

db = App(name="db", help="The database: migrate, check, measure and move it.")
app.command(db)


@db.command
def migrate(*, database: Database = None, json: AsJson = False) -> None:
    """Apply the migrations that are missing. A server does so by itself at its start."""
    from runstead import administration  # noqa: PLC0415

    applied = run(administration.migrate(database))
    if json:
        show({"applied": applied}, json=True)
    else:
        say("\n".join(f"applied {name}" for name in applied) or "up to date")


@db.command
def check(*, database: Database = None, json: AsJson = False) -> None:
    """Hold the whole store to its invariants, also beside a server; exit 1 where one is violated."""
    from runstead import administration  # noqa: PLC0415
    from runstead.cli.bar import bar  # noqa: PLC0415

    found: list[Violation] = []

    def tell(violation: "Violation") -> None:
        if json:
            found.append(violation)
        else:
            say(f"{violation.sentence} ({violation.rule}).")

    with bar("runs") as advance:
        looked, count = run(
            administration.check(
                database, tell, lambda runs, reached, newest: advance(reached, newest, f"{runs:,} runs")
            )
        )
    if json:
        show({"runs": looked, "violations": found}, json=True)
    else:
        say(f"{looked:,} runs, {f'{count:,} violation(s)' if count else 'no violation'}")
    if count:
        sys.exit(1)
