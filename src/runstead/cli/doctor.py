"""`runstead doctor`."""

import sys

from runstead.cli.shared.connection import NO_OPTIONS, ServerOptions, resolve
from runstead.cli.shared.options import AsJson, Database
from runstead.cli.shared.output import write_out
from runstead.cli.shared.render import Screen, document, safe


def doctor(*, database: Database = None, server: ServerOptions = NO_OPTIONS, json: AsJson = False) -> None:
    """Check this machine, the store and the server, with advice. Exit 1 if a check fails."""
    from runstead.cli import local_checks, server_checks  # noqa: PLC0415

    screen, found = Screen.of(), []
    destination = resolve(server)
    for findings in (local_checks.machine_checks(database), server_checks.server_findings(destination)):
        for finding in findings:
            found.append(finding)
            if json:
                continue
            write_out(
                f"{screen.paint(f'{finding.level:<4}', finding.level)}  {finding.check}: {safe(finding.detail)}"
            )
            if finding.advice and finding.level != "ok":
                write_out(f"      {safe(finding.advice)}", flush=True)
    if json:
        write_out(document(found))
    if any(finding.level == "fail" for finding in found):
        sys.exit(1)
