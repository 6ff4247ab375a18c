"""`runstead doctor`."""

import sys

from runstead.cli.app import AsJson, Database
from runstead.cli.shared.connection import UNSAID, Reach, resolve
from runstead.cli.shared.output import say


def doctor(*, database: Database = None, reach: Reach = UNSAID, json: AsJson = False) -> None:
    """Look at this machine, the store and the server; say of each what is wrong and what to do. Exit 1 where something
    fails.
    """
    from runstead.cli import local_checks, server_checks  # noqa: PLC0415
    from runstead.cli.shared.render import Screen, document, safe  # noqa: PLC0415

    screen, found = Screen.of(), []
    place = resolve(reach)
    for look in (local_checks.here(database), server_checks.server(place)):
        for finding in look:
            found.append(finding)
            if json:
                continue
            say(
                f"{screen.paint(f'{finding.level:<4}', finding.level)}  {finding.check}: {safe(finding.detail)}"
            )
            if finding.advice and finding.level != "ok":
                say(f"      {safe(finding.advice)}", flush=True)
    if json:
        say(document(found))
    if any(finding.level == "fail" for finding in found):
        sys.exit(1)
