"""Every command and group by name. `runstead --help` imports only this module, so that it is fast."""

from typing import Final

SUMMARY: Final = "Runstead: a self-hosted control plane for durable runs."

#: Name → import path of the command or group, and its summary.
COMMANDS: Final = {
    "init": ("runstead.cli.init:init", "Create a project with an app and its test."),
    "serve": ("runstead.cli.serve:serve", "Run the server until SIGTERM or Ctrl-C."),
    "runs": ("runstead.cli.runs:runs", "Create, follow, cancel and retry runs."),
    "schedules": ("runstead.cli.schedules:schedules", "Create and manage schedules."),
    "triggers": ("runstead.cli.triggers:triggers", "URLs that start runs when they are called."),
    "events": ("runstead.cli.events:events", "Events of a project's bus, which resume and start runs."),
    "batches": ("runstead.cli.batches:batches", "Create batches of runs and follow their progress."),
    "inputs": ("runstead.cli.inputs:inputs", "Input requests (forms) that runs wait for."),
    "conversations": ("runstead.cli.conversations:conversations", "Conversations of agents and users."),
    "open": ("runstead.cli.open_page:open_page", "Open a run's page in the browser."),
    "usage": ("runstead.cli.usage:usage", "Tokens and cost of a project's runs."),
    "prices": ("runstead.cli.prices:prices", "Prices of models, which give usage its cost."),
    "budgets": ("runstead.cli.budgets:budgets", "Budgets: what runs may spend, in money or tokens."),
    "limits": ("runstead.cli.limits:limits", "Concurrency limits of running runs."),
    "worker": ("runstead.cli.run_worker:worker", "Run a worker for an app until SIGTERM or Ctrl-C."),
    "dev": ("runstead.cli.dev:dev", "Run a server and a worker for development."),
    "workers": ("runstead.cli.workers:workers", "List the workers of a project."),
    "push-services": ("runstead.cli.push_services:push_services", "Services that get agent runs by HTTP."),
    "projects": ("runstead.cli.projects:projects", "Projects of a store or of a server."),
    "keys": ("runstead.cli.keys:keys", "API keys, and the server's signing keys."),
    "members": ("runstead.cli.members:members", "Members of a project and their roles."),
    "audit": ("runstead.cli.audit:audit", "Who changed what: the audit log."),
    "alerts": ("runstead.cli.alerts:alerts", "Alert rules and their history."),
    "webhooks": ("runstead.cli.webhooks:webhooks", "Webhooks and their deliveries."),
    "db": ("runstead.cli.db:db", "The database: migrate, check, measure and move it."),
    "backup": ("runstead.cli.backup:backup", "Back up a store and its artifacts, also while servers run."),
    "restore": ("runstead.cli.backup:restore", "Restore a backup into a new store."),
    "verify-backup": ("runstead.cli.backup:verify_backup", "Read a backup, and check all of it."),
    "doctor": ("runstead.cli.doctor:doctor", "Check this machine, the store and the server."),
    "config": ("runstead.cli.config:config", "Show the config file and the effective connection."),
    "completion": ("runstead.cli.completion:completion", "Print a shell completion script."),
    "bench": ("runstead.cli.bench:bench", "Measure a deployment."),
    "race": ("runstead.cli.bench:race", "Check that a deployment completes each run exactly once."),
}


def overview() -> str:
    """The output of `runstead --help`."""
    from runstead.cli.shared.help_text import columns  # noqa: PLC0415

    rows = [(name, summary) for name, (_, summary) in sorted(COMMANDS.items())]
    rows += [("--help, -h", "Display this message and exit."), ("--version", "Display application version.")]
    return "\n".join(["Usage: runstead COMMAND", "", SUMMARY, "", "Commands:", columns(rows, None)])
