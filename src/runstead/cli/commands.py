"""Every command and group by name. `runstead --help` needs no more than this, so that it is there at once."""

from typing import Final

SUMMARY: Final = "Runstead: a self-hosted control plane for durable runs."

#: Name → where its command or its group is, and what it is for.
COMMANDS: Final = {
    "serve": ("runstead.cli.serve:serve", "Start the server and keep it up until SIGTERM or Ctrl-C."),
    "runs": ("runstead.cli.runs:runs", "Create, follow, cancel and retry runs."),
    "schedules": ("runstead.cli.schedules:schedules", "What starts by itself, and when."),
    "triggers": ("runstead.cli.triggers:triggers", "Addresses that start runs when they are called."),
    "batches": ("runstead.cli.batches:batches", "Many runs at once, and how far they are."),
    "inputs": ("runstead.cli.inputs:inputs", "Forms that runs wait for."),
    "limits": ("runstead.cli.limits:limits", "How many runs may run at a time."),
    "worker": ("runstead.cli.run_worker:worker", "Serve the runs of an app until SIGTERM or Ctrl-C."),
    "dev": ("runstead.cli.dev:dev", "A server and a worker for development."),
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


def overview() -> str:
    """The answer to `runstead --help`."""
    lines = [f"  {name}: {summary}" for name, (_, summary) in sorted(COMMANDS.items())]
    lines += ["  --help, -h: Display this message and exit.", "  --version: Display application version."]
    return "\n".join(["Usage: runstead COMMAND", "", SUMMARY, "", "Commands:", *lines])
