"""`runstead db …`."""

import sys
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from runstead.cli.app import AsJson, Database
from runstead.cli.shared.output import run, say, show

if TYPE_CHECKING:
    from runstead.core.runs.invariants import Violation

db = App(name="db", help="The database: migrate, check, measure and move it.")


@db.command
def migrate(*, database: Database = None, json: AsJson = False) -> None:
    """Apply the migrations that are missing. A server does so by itself at its start."""
    from runstead.server import administration  # noqa: PLC0415

    applied = run(administration.migrate(database))
    if json:
        show({"applied": applied}, json=True)
    else:
        say("\n".join(f"applied {name}" for name in applied) or "up to date")


@db.command
def check(*, database: Database = None, json: AsJson = False) -> None:
    """Hold the whole store to its invariants, also beside a server; exit 1 where one is violated."""
    from runstead.cli.shared.progress_bar import bar  # noqa: PLC0415
    from runstead.server import administration  # noqa: PLC0415

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


@db.command
def stats(*, database: Database = None, json: AsJson = False) -> None:
    """Tell how large the store is and what is in it."""
    from runstead.core.clock import iso  # noqa: PLC0415
    from runstead.server import administration  # noqa: PLC0415

    told = run(administration.stats(database))
    pending = None if told.oldest_pending_at is None else iso(told.oldest_pending_at)
    if json:
        shown = {name: getattr(told, name) for name in told.__struct_fields__}
        tables = [table._asdict() for table in told.tables]
        show(shown | {"tables": tables, "oldest_pending_at": pending}, json=True)
        return
    say(f"{'table':<28}{'rows':>15}{'MiB':>12}")
    for table in told.tables:
        size = "" if table.bytes is None else f"{table.bytes / 2**20:,.1f}"
        say(
            f"{'  ' if table.part_of else ''}{table.name:<{26 if table.part_of else 28}}{table.rows:>15,}{size:>12}"
        )
    log = "" if told.log_bytes is None else f", and {told.log_bytes / 2**20:,.1f} MiB of log"
    say(f"the database takes {told.bytes / 2**20:,.1f} MiB{log}")
    say(
        "runs: " + (", ".join(f"{count:,} {status}" for status, count in sorted(told.runs.items())) or "none")
    )
    if pending is not None:
        say(f"the oldest pending run was created at {pending}")
    if told.events_per_run is not None:
        say(f"events per run: {told.events_per_run:.1f}")


@db.command
def copy(
    *,
    source: Annotated[str, Parameter(name="--from", help="The store: postgresql://… or sqlite:///<path>")],
    target: Annotated[str, Parameter(name="--to", help="An empty one, made where it is not there yet")],
    json: AsJson = False,
) -> None:
    """Copy a store that no server writes to into an empty one; goes on where it was killed, and verifies."""
    from runstead.cli.shared.progress_bar import bar  # noqa: PLC0415
    from runstead.server import administration  # noqa: PLC0415

    with bar("rows") as advance:
        copied = run(
            administration.copy(
                source,
                target,
                lambda words, done, total: advance(done, total, f"{words}: {done:,} of {total:,} rows"),
            )
        )
        looked, violations = _checked(target)
    if json:
        show({"copied": copied, "runs": looked, "violations": violations}, json=True)
    else:
        say("\n".join(f"{rows:>12,}  {table}" for table, rows in copied.items()))
        say(f"the copy is the same, row by row; {looked:,} runs checked, {len(violations):,} violation(s)")
    if violations:
        sys.exit(1)


def _checked(database: str) -> tuple[int, "list[Violation]"]:
    from runstead.server import administration  # noqa: PLC0415

    found: list[Violation] = []
    looked, _ = run(administration.check(database, found.append, lambda *_: None))
    return looked, found
