"""The long form of tests/faults: injects faults under load until enough operations are recorded and checked.

    PYTHONPATH=. .venv/bin/python -P -m tests.faults.long --operations 100000

It prints a report. Exit status 1 if the history of a run cannot be explained (the report shows the relevant
part), if an answer is unexpected, or if `runstead db check` finds a violation.
"""

# ruff: noqa: T201 - a program for the terminal

import argparse
import signal
import sys
import tempfile
import time
from pathlib import Path

from . import faults
from .deployment import Deployment
from .history import by_run, save
from .load import Load
from .verdict import Verdict, judge

ROUNDS = 2  # loads for each fault, at least
# Short faults are injected several times in one load.
TIMES = {
    faults.kill_replica: 4,
    faults.break_sessions: 6,
    faults.kill_leader: 2,
    faults.sever_connections: 6,
    faults.kill_database: 4,
}


def main() -> int:
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that no server is left running
    wanted = [each for each in faults.FAULTS if not options.fault or each.__name__ in options.fault]
    per_fault = max(options.operations // (ROUNDS * len(wanted)), 2 * faults.SPELL)
    operations = runs = unknown = loads = injected = broken = 0
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="runstead-faults-") as directory:
        deployment = Deployment(Path(directory), options.replicas)
        try:
            while operations < options.operations or loads < ROUNDS * len(wanted):
                fault = wanted[loads % len(wanted)]
                name = f"{fault.__name__.replace('_', '-')}-{loads}"
                started = time.monotonic()
                load, verdict = _spell(deployment, fault, name, per_fault, options)
                loads, injected = loads + 1, injected + TIMES.get(fault, 1)
                operations, runs = operations + verdict.operations, runs + verdict.runs
                unknown += verdict.unknown
                found = deployment.violations()
                broken += _report(verdict, fault.__name__, time.monotonic() - started, found)
                if options.keep is not None and not verdict.clean:
                    _keep(options.keep, load, verdict)
        finally:
            deployment.close()
    print(
        f"{operations:,} operations on {runs:,} runs at {options.replicas} replicas, {injected} faults,"
        f" {time.monotonic() - began:,.0f} s; outcome unknown: {unknown:,} ({100 * unknown / operations:.1f} %);"
        f" violations: {broken}"
    )
    return 1 if broken else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--operations", type=int, default=100_000, help="minimum number of operations")
    parser.add_argument(
        "--replicas", type=int, default=3, help="three or more; one of them has a wrong clock"
    )
    parser.add_argument("--clients", type=int, default=12)
    parser.add_argument("--pause", type=float, default=60.0, help="seconds for which the leader is stopped")
    parser.add_argument("--seed", type=int, default=0, help="seed of the clients; replicas are still random")
    parser.add_argument("--fault", action="append", help="only this fault; can be repeated")
    parser.add_argument("--keep", type=Path, help="directory for the histories of runs with violations")
    options = parser.parse_args()
    if options.replicas < 3:
        parser.error("at least three replicas are needed")
    return options


def _spell(
    deployment: Deployment, fault: faults.Fault, name: str, operations: int, options: argparse.Namespace
) -> tuple[Load, Verdict]:
    """Run one load and inject the fault in it, once or several times."""
    times = TIMES.get(fault, 1)
    deployment.ready()
    load = Load(deployment.replicas, name, clients=options.clients, seed=options.seed)
    for _ in range(times):
        load.pass_by(operations // (times + 1), 600)
        fault(deployment, load, options.pause)
    load.pass_by(max(faults.SPELL, operations - len(load.operations)), 600)
    deployment.ready()
    load.finish()
    return load, judge(load)


def _report(verdict: Verdict, fault: str, seconds: float, found: str) -> int:
    """Print the verdict. Returns the number of violations."""
    print(
        f"{fault}: {verdict.operations:,} operations on {verdict.runs:,} runs in {seconds:.0f} s,"
        f" {verdict.unknown:,} unknown"
    )
    for outcome, count in sorted(verdict.kinds.items()):
        print(f"  {count:7,}  {outcome}")
    for run_id, shown in verdict.violations.items():
        print(f"VIOLATION: no order explains what the clients of {run_id} saw:\n{shown}")
    for run_id in verdict.undecided:
        print(f"UNDECIDED: the search for an order of {run_id} was aborted")
    for answer in verdict.unexpected:
        print(f"UNEXPECTED: {answer}")
    if found:
        print(f"VIOLATION: runstead db check:\n{found}")
    sys.stdout.flush()
    return len(verdict.violations) + len(verdict.undecided) + len(verdict.unexpected) + bool(found)


def _keep(directory: Path, load: Load, verdict: Verdict) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    runs = by_run(load.history)
    for run_id in (*verdict.violations, *verdict.undecided):
        save(directory / f"{run_id}.jsonl", runs[run_id])


if __name__ == "__main__":
    sys.exit(main())
