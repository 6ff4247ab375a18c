"""`runstead db …`."""

import sys
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from runstead.cli.encryption import described, members_of
from runstead.cli.shared.exit_codes import MIGRATIONS_NOT_SAFE, MIGRATIONS_PENDING
from runstead.cli.shared.options import AsJson, Database
from runstead.cli.shared.output import run, show, write_err, write_out
from runstead.cli.shared.progress_bar import bar, steps_bar
from runstead.core.clock import iso

if TYPE_CHECKING:
    from runstead.core.migration import PendingMigration
    from runstead.core.runs.invariants import Violation

db = App(name="db", help="The database: migrate, check, measure and move it.")


@db.command
def migrate(
    *,
    check: Annotated[
        bool,
        Parameter(
            help="Only list them, and whether each is safe while the previous version runs. Exit 6: all are; 7: not all",
            negative="",
        ),
    ] = False,
    database: Database = None,
    json: AsJson = False,
) -> None:
    """Apply the pending migrations. A server applies them at its start."""
    from runstead.server import administration  # noqa: PLC0415

    if check:
        _list_pending(run(administration.pending_migrations(database)), json=json)
        return
    applied = run(administration.migrate(database))
    if json:
        show({"applied": applied}, json=True)
    else:
        write_out("\n".join(f"applied {name}" for name in applied) or "up to date")


def _list_pending(pending: "list[PendingMigration]", *, json: bool) -> None:
    """Exit 6 if every one is safe while the previous version runs, 7 if one is not."""
    if json:
        members = ("name", "safe", "works_from", "breaking")
        show({"pending": [{name: getattr(one, name) for name in members} for one in pending]}, json=True)
    for one in () if json else pending:
        before = "earlier versions" if one.works_from is None else f"versions before {one.works_from}"
        note = "safe while the previous version runs" if one.safe else f"not safe: stop {before} first"
        write_out("\n  ".join([f"{one.name}: {note}", *one.breaking]))
    if pending:
        sys.exit(MIGRATIONS_PENDING if all(one.safe for one in pending) else MIGRATIONS_NOT_SAFE)
    if not json:
        write_out("up to date")


@db.command
def check(*, database: Database = None, json: AsJson = False) -> None:
    """Check the invariants of the whole store, also while a server runs. Exit 1 if one is violated."""
    from runstead.server import administration  # noqa: PLC0415

    found: list[Violation] = []

    def report(violation: "Violation") -> None:
        if json:
            found.append(violation)
        else:
            write_out(f"{violation.sentence} ({violation.rule}).")

    with bar("runs") as advance:
        checked, count = run(
            administration.check(
                database, report, lambda runs, reached, newest: advance(reached, newest, f"{runs:,} runs")
            )
        )
    secrets = run(administration.secrets(database))
    if json:
        show({"runs": checked, "violations": found, "secrets": members_of(secrets)}, json=True)
    else:
        write_out(f"{checked:,} runs, {f'{count:,} violation(s)' if count else 'no violation'}")
        if secrets:
            write_out(f"secrets: {described(secrets)}")
    if count:
        sys.exit(1)


@db.command
def stats(*, database: Database = None, json: AsJson = False) -> None:
    """Print the size of the store and its contents."""
    from runstead.server import administration  # noqa: PLC0415

    found = run(administration.stats(database))
    pending = None if found.oldest_pending_at is None else iso(found.oldest_pending_at)
    if json:
        shown = {name: getattr(found, name) for name in found.__struct_fields__}
        tables = [table._asdict() for table in found.tables]
        show(shown | {"tables": tables, "oldest_pending_at": pending}, json=True)
        return
    measured = any(table.bytes is not None for table in found.tables)
    write_out(f"{'table':<28}{'rows':>15}{'MiB' if measured else '':>12}".rstrip())
    for table in found.tables:
        size = "" if table.bytes is None else f"{table.bytes / 2**20:,.1f}"
        write_out(
            f"{'  ' if table.part_of else ''}{table.name:<{26 if table.part_of else 28}}"
            f"{table.rows:>15,}{size:>12}".rstrip()
        )
    if not measured:
        write_out("the sizes of tables are unknown: Python's SQLite library lacks dbstat")
    log = "" if found.log_bytes is None else f", and {found.log_bytes / 2**20:,.1f} MiB of log"
    write_out(f"the database takes {found.bytes / 2**20:,.1f} MiB{log}")
    write_out(
        "runs: "
        + (", ".join(f"{count:,} {status}" for status, count in sorted(found.runs.items())) or "none")
    )
    if pending is not None:
        write_out(f"the oldest pending run was created at {pending}")
    if found.events_per_run is not None:
        write_out(f"events per run: {found.events_per_run:.1f}")


@db.command
def copy(
    *,
    source: Annotated[str, Parameter(name="--from", help="The store: postgresql://… or sqlite:///<path>")],
    target: Annotated[str, Parameter(name="--to", help="An empty store; created if it does not exist")],
    artifacts_from: Annotated[
        str | None,
        Parameter(help="Where the source keeps artifacts; else RUNSTEAD_ARTIFACTS_URL, or beside its file"),
    ] = None,
    artifacts_to: Annotated[
        str | None, Parameter(help="Where the copy keeps artifacts; else as for --artifacts-from")
    ] = None,
    without_artifacts: Annotated[bool, Parameter(help="Copy no artifacts", negative="")] = False,
    json: AsJson = False,
) -> None:
    """Copy a store and its artifacts into an empty one and verify it, with its servers stopped; continue a copy."""
    from runstead.server import administration  # noqa: PLC0415

    with steps_bar("rows") as advance:
        copied = run(
            administration.copy(
                source,
                target,
                advance,
                administration.ArtifactUrls(artifacts_from, artifacts_to, without_artifacts),
            )
        )
        checked, violations = _checked(target)
    if (note := run(administration.copy_encryption_key(source, target))) is not None:
        write_err(note)
    if json:
        show(
            {"copied": copied.rows, "artifacts": copied.artifacts, "runs": checked, "violations": violations},
            json=True,
        )
    else:
        write_out("\n".join(f"{rows:>12,}  {table}" for table, rows in copied.rows.items()))
        if copied.artifacts is None:
            write_out("the artifacts stay where they are: both stores use the same RUNSTEAD_ARTIFACTS_URL")
        else:
            write_out(f"{copied.artifacts:>12,}  artifacts")
        write_out(
            f"the copy is identical, row by row; {checked:,} runs checked, {len(violations):,} violation(s)"
        )
    if violations:
        sys.exit(1)


def _checked(database: str) -> tuple[int, "list[Violation]"]:
    from runstead.server import administration  # noqa: PLC0415

    found: list[Violation] = []
    checked, _ = run(administration.check(database, found.append, lambda *_: None))
    return checked, found
