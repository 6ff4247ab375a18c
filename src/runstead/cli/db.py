"""`runstead db …`."""

from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from runstead.cli.encryption import described, members_of
from runstead.cli.shared.command import Output
from runstead.cli.shared.exit_codes import MIGRATIONS_NOT_SAFE, MIGRATIONS_PENDING
from runstead.cli.shared.options import AsJson, Database
from runstead.cli.shared.output import run, write_err, write_out
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
            help="Only list them, and whether each is safe while the previous version runs. Exit 6: all are; 7: not all"
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
    text = "\n".join(f"applied {name}" for name in applied) or "up to date"
    Output({"applied": applied}, text).show(json=json)


def _list_pending(pending: "list[PendingMigration]", *, json: bool) -> None:
    """Exit 6 if every one is safe while the previous version runs, 7 if one is not."""
    lines, code = [], MIGRATIONS_PENDING if pending else 0
    for one in pending:
        before = "earlier versions" if one.works_from is None else f"versions before {one.works_from}"
        note = "safe while the previous version runs" if one.safe else f"not safe: stop {before} first"
        lines.append("\n  ".join([f"{one.name}: {note}", *one.breaking]))
        code = code if one.safe else MIGRATIONS_NOT_SAFE
    members = ("name", "safe", "works_from", "breaking")
    value = {"pending": [{name: getattr(one, name) for name in members} for one in pending]}
    Output(value, "\n".join(lines) or "up to date", exit_code=code).show(json=json)


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
    text = f"{checked:,} runs, {f'{count:,} violation(s)' if count else 'no violation'}"
    if secrets:
        text += f"\nsecrets: {described(secrets)}"
    value = {"runs": checked, "violations": found, "secrets": members_of(secrets)}
    Output(value, text, exit_code=int(count > 0)).show(json=json)


@db.command
def stats(*, database: Database = None, json: AsJson = False) -> None:
    """Print the size of the store and its contents."""
    from runstead.server import administration  # noqa: PLC0415

    found = run(administration.stats(database))
    pending = None if found.oldest_pending_at is None else iso(found.oldest_pending_at)
    measured = any(table.bytes is not None for table in found.tables)
    lines = [f"{'table':<28}{'rows':>15}{'MiB' if measured else '':>12}".rstrip()]
    for table in found.tables:
        size = "" if table.bytes is None else f"{table.bytes / 2**20:,.1f}"
        name = f"{'  ' if table.part_of else ''}{table.name:<{26 if table.part_of else 28}}"
        lines.append(f"{name}{table.rows:>15,}{size:>12}".rstrip())
    if not measured:
        lines.append("the sizes of tables are unknown: Python's SQLite library lacks dbstat")
    log = "" if found.log_bytes is None else f", and {found.log_bytes / 2**20:,.1f} MiB of log"
    lines.append(f"the database takes {found.bytes / 2**20:,.1f} MiB{log}")
    statuses = ", ".join(f"{count:,} {status}" for status, count in sorted(found.runs.items()))
    lines.append(f"runs: {statuses or 'none'}")
    if pending is not None:
        lines.append(f"the oldest pending run was created at {pending}")
    if found.events_per_run is not None:
        lines.append(f"events per run: {found.events_per_run:.1f}")
    value = {name: getattr(found, name) for name in found.__struct_fields__}
    value |= {"tables": [table._asdict() for table in found.tables], "oldest_pending_at": pending}
    Output(value, "\n".join(lines)).show(json=json)


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
    without_artifacts: Annotated[bool, Parameter(help="Copy no artifacts")] = False,
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
    lines = [f"{rows:>12,}  {table}" for table, rows in copied.rows.items()]
    lines += [
        "the artifacts stay where they are: both stores use the same RUNSTEAD_ARTIFACTS_URL"
        if copied.artifacts is None
        else f"{copied.artifacts:>12,}  artifacts",
        f"the copy is identical, row by row; {checked:,} runs checked, {len(violations):,} violation(s)",
    ]
    value = {"copied": copied.rows, "artifacts": copied.artifacts, "runs": checked, "violations": violations}
    Output(value, "\n".join(lines), exit_code=int(bool(violations))).show(json=json)


def _checked(database: str) -> tuple[int, "list[Violation]"]:
    from runstead.server import administration  # noqa: PLC0415

    found: list[Violation] = []
    checked, _ = run(administration.check(database, found.append, lambda *_: None))
    return checked, found
