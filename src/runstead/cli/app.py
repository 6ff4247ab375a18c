"""The command line. Answers go to stdout, everything else to stderr; a refusal is one sentence and exit 1."""

from typing import Annotated

from cyclopts import App, Parameter

from runstead import __version__

app = App(
    name="runstead",
    help="Runstead: a self-hosted control plane for durable runs.",
    version=__version__,
    help_format="plaintext",
)

Database = Annotated[
    str | None, Parameter(help="postgresql://… or sqlite:///<path>; else RUNSTEAD_DATABASE_URL")
]
AsJson = Annotated[bool, Parameter(name="--json", negative="", help="Print JSON")]
