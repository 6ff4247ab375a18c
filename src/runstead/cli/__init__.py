"""The program `runstead`: one file for each group of commands. A command loads what it needs when it is called, so that
`runstead --help` stays quick.
"""

from runstead.cli import bench, db, dev, keys, projects, race, serve, worker  # noqa: F401 - each adds its commands
from runstead.cli.app import app

__all__ = ["app", "main"]


def main() -> None:
    app()
