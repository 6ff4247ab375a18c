"""Runstead itself: create, claim, ten events in one append, complete, each request durable before its answer."""

import subprocess
import sys
from pathlib import Path

from common import WARM_UP_S, arguments, report

from runstead import __version__
from runstead.bench import BenchOptions, run_bench
from runstead.core.identity.project import new_key


def main() -> None:
    options, key = arguments(), new_key()
    database = options.postgres or f"sqlite:///{Path(options.directory) / 'runstead.db'}"
    settings = {"RUNSTEAD_DATABASE_URL": database, "RUNSTEAD_BOOTSTRAP_KEY": key, "RUNSTEAD_PORT": "0"}
    runstead = Path(sys.executable).parent / "runstead"
    server = subprocess.Popen([runstead, "serve"], env=settings, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        ready = next(line for line in server.stdout if line.startswith("runstead is ready on "))
        measured = run_bench(
            BenchOptions(
                urls=(ready.split()[-1],),
                key=key,
                project="default",
                concurrency=options.concurrency,
                seconds=options.seconds,
                warm_up_seconds=WARM_UP_S,
                floor_seconds=0.1,
            )
        )
    finally:
        server.terminate()
        server.wait()
    report(__version__, measured.lifecycles_per_s)


if __name__ == "__main__":
    main()
