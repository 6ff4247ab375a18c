"""The program's commands by name. Each group is loaded when it is asked for, so that `runstead --help` stays quick."""

from typing import Annotated

from cyclopts import App, Parameter

from runstead import __version__

app = App(
    name="runstead",
    help="Runstead: a self-hosted control plane for durable runs.",
    version=__version__,
    help_format="plaintext",
    help_formatter="plain",
    suppress_keyboard_interrupt=False,
)

#: Name → where its command or its group is, and what it is for.
COMMANDS = {
    "serve": ("runstead.cli.serve:serve", "Start the server and keep it up until SIGTERM or Ctrl-C."),
    "runs": ("runstead.cli.runs:runs", "Create, follow, cancel and retry runs."),
    "schedules": ("runstead.cli.schedules:schedules", "What starts by itself, and when."),
    "batches": ("runstead.cli.batches:batches", "Many runs at once, and how far they are."),
    "workers": ("runstead.cli.workers:workers", "Who works on runs."),
    "projects": ("runstead.cli.projects:projects", "Projects of a store, or of a server."),
    "keys": ("runstead.cli.keys:keys", "API keys, and the keys that the server signs with."),
    "members": ("runstead.cli.members:members", "Who may do what in a project."),
    "webhooks": ("runstead.cli.webhooks:webhooks", "Who is told of what happens."),
    "db": ("runstead.cli.db:db", "The database: migrate, check, measure and move it."),
    "doctor": ("runstead.cli.doctor:doctor", "Look for what is wrong here, and say what to do."),
    "config": ("runstead.cli.config:config", "Where commands go: profiles, and what is in effect."),
    "completion": ("runstead.cli.completion:completion", "Print what makes a shell complete commands."),
    "bench": ("runstead.cli.bench:bench", "Measure a deployment."),
    "race": ("runstead.cli.race:race", "Prove that a deployment completes each run exactly once."),
}
for _name, (_path, _help) in COMMANDS.items():
    app.command(_path, name=_name, help=_help)

Database = Annotated[
    str | None, Parameter(help="postgresql://… or sqlite:///<path>; else RUNSTEAD_DATABASE_URL")
]
AsJson = Annotated[bool, Parameter(name="--json", negative="", help="Print JSON")]
