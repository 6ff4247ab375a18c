"""`runstead backup`, `runstead restore` and `runstead verify-backup`."""

import sys
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number

from runstead.cli.encryption import described, members_of
from runstead.cli.shared.command import Output
from runstead.cli.shared.options import AsJson, Database
from runstead.cli.shared.output import fail, run, write_err
from runstead.cli.shared.progress_bar import steps_bar
from runstead.core.clock import iso

if TYPE_CHECKING:
    from runstead.core.backup import Manifest

Place = Annotated[str, Parameter(help="A directory, or s3://<bucket>/<prefix>")]
Name = Annotated[str | None, Parameter(name="--backup", help="The time in its name; else the newest")]
ArtifactsUrl = Annotated[
    str | None,
    Parameter(
        name="--artifacts",
        help="Where the store keeps artifacts; else RUNSTEAD_ARTIFACTS_URL, or beside its file",
    ),
]


def backup(
    place: Place,
    /,
    *,
    database: Database = None,
    artifacts: ArtifactsUrl = None,
    without_artifacts: Annotated[bool, Parameter(help="Back up no artifacts")] = False,
    keep: Annotated[
        int | None, Parameter(help="Then delete all but so many backups", validator=Number(gte=1))
    ] = None,
    json: AsJson = False,
) -> None:
    """Back up a store and its artifacts into PLACE, also while servers run. Only new artifacts are copied."""
    from runstead.server import backup as backups  # noqa: PLC0415

    with steps_bar("pages") as advance:
        saved = run(
            backups.backup(
                database,
                place,
                advance,
                artifacts_url=artifacts,
                without_artifacts=without_artifacts,
                keep=keep,
            )
        )
    manifest = saved.manifest
    lost = [each.run_id for each in manifest.missing if not each.deleted]
    lines = [f"backup {saved.name}: {_contents(manifest)}"]
    if manifest.artifacts is not None:
        lines.append(f"{saved.copied:,} artifact content(s) were new")
    if deleted := len(manifest.missing) - len(lost):
        lines.append(f"{deleted:,} artifact(s) were deleted during the backup")
    if saved.pruned:
        lines.append(f"deleted {len(saved.pruned):,} older backup(s)")
    lines.append("the encryption key is not in the backup: keep it in another place")
    value = _members(saved.name, manifest) | {"copied_artifacts": saved.copied, "deleted": saved.pruned}
    Output(value, "\n".join(lines)).show(json=json)
    if lost:
        shown_ids = ", ".join(dict.fromkeys(lost[:5]))
        fail(
            f"the artifact store lacks {len(lost):,} artifact(s), or has other bytes, of the runs {shown_ids}"
        )


def restore(
    place: Place,
    /,
    *,
    database: Database = None,
    artifacts: ArtifactsUrl = None,
    backup: Name = None,
    json: AsJson = False,
) -> None:
    """Restore a backup from PLACE into a new store, and check it. Exit 1 if an invariant is violated."""
    from runstead.server import backup as backups  # noqa: PLC0415

    with steps_bar("files") as advance:
        done = run(backups.restore(place, database, advance, write_err, artifacts_url=artifacts, name=backup))
    lines = [f"restored the backup {done.name}: {_contents(done.manifest)}"]
    if done.artifacts is None:
        lines.append("the backup was made without artifacts")
    if missing := done.manifest.missing:
        ids = ", ".join(dict.fromkeys(each.run_id for each in missing[:5]))
        lines.append(
            f"the backup lacks {len(missing):,} artifact(s) that its database names, of the runs {ids}"
        )
    lines += [f"{violation.sentence} ({violation.rule})." for violation in done.violations]
    lines.append(f"{done.runs:,} runs checked, {len(done.violations):,} violation(s)")
    if done.secrets:
        lines.append(f"secrets: {described(done.secrets)}")
    checked = {"checked": done.runs, "violations": done.violations, "secrets": members_of(done.secrets)}
    Output(_members(done.name, done.manifest) | checked, "\n".join(lines)).show(json=json)
    if any(not each.readable for each in done.secrets):
        write_err(
            "the encryption key is not in the backup: before you start a server, put the key file beside the database"
            " as <database>-encryption-key, or set RUNSTEAD_ENCRYPTION_KEY"
        )
    if done.violations:
        sys.exit(1)


def verify_backup(place: Place, /, *, backup: Name = None, json: AsJson = False) -> None:
    """Read a whole backup: digests, counts, and the invariants of its database. Exit 1 if it is not complete."""
    from runstead.server import backup as backups  # noqa: PLC0415

    faults: list[str] = []
    with steps_bar("files") as advance:
        name, manifest = run(backups.verify(place, backup, advance, faults.append))
    text = "\n".join([*faults, f"backup {name}: {_contents(manifest)}, {len(faults):,} fault(s)"])
    Output(_members(name, manifest) | {"faults": faults}, text, exit_code=int(bool(faults))).show(json=json)


def _contents(manifest: "Manifest") -> str:
    held = manifest.artifacts or {}
    size = (manifest.database_bytes + sum(held.values())) / 2**20
    return f"{manifest.runs:,} runs, {len(held):,} artifact content(s), {size:,.1f} MiB"


def _members(name: str, manifest: "Manifest") -> dict[str, Any]:
    held = manifest.artifacts
    return {
        "name": name,
        "created_at": iso(manifest.created_at),
        "version": manifest.version,
        "engine": manifest.engine,
        "migration": manifest.migration,
        "runs": manifest.runs,
        "database_bytes": manifest.database_bytes,
        "artifacts": None if held is None else len(held),
        "artifact_bytes": None if held is None else sum(held.values()),
        "missing": [
            {"run_id": each.run_id, "sha256": each.sha256, "deleted": each.deleted}
            for each in manifest.missing
        ],
    }
