"""`runstead worker`."""

from typing import TYPE_CHECKING, Annotated, Any, Final

from cyclopts import Parameter

from runstead.cli.shared.output import fail, write_err

if TYPE_CHECKING:
    from runstead.sdk.isolation.parent_side import Executor

Url = Annotated[str, Parameter(env_var="RUNSTEAD_URL", help="Server URL; else RUNSTEAD_URL")]
Concurrency = Annotated[int, Parameter(help="Concurrent runs, of all projects together")]
Grace = Annotated[float, Parameter(help="Seconds for runs to finish after a stop")]

#: Concurrent calls, beside waiting claims. Calls that arrive together share the server's commits.
_CALLS_AT_ONCE: Final = 32


def worker(
    reference: Annotated[
        str, Parameter(name="module:app", help="An App, or a function (client, **options) -> Worker")
    ],
    /,
    *,
    url: Url = "http://127.0.0.1:8720",
    key: Annotated[str, Parameter(env_var="RUNSTEAD_KEY", help="API key; else RUNSTEAD_KEY")],
    project: Annotated[
        list[str] | None,
        Parameter(
            env_var="RUNSTEAD_PROJECT", help="Slug or id, may repeat; else RUNSTEAD_PROJECT, else default"
        ),
    ] = None,
    concurrency: Concurrency = 4,
    lease_seconds: Annotated[
        int, Parameter(help="5 to 300; after that time another worker gets a dead worker's runs")
    ] = 30,
    wait_seconds: Annotated[int, Parameter(help="0 to 30; how long a claim waits for a run")] = 20,
    grace_seconds: Grace = 30.0,
    implementation_kind: Annotated[
        str, Parameter(help="Claims agent runs of this implementation kind")
    ] = "python",
    executor: Annotated[
        str | None, Parameter(help="Run handlers on ray://… or dask://…; else in this process")
    ] = None,
    reload: Annotated[bool, Parameter(help="Restart when a source file changes")] = False,
) -> None:
    """Run a worker for an app until SIGTERM or Ctrl-C. Then runs finish in the grace period or are released."""
    projects = list(dict.fromkeys(project or ["default"]))
    if reload:
        from runstead.cli.reloader import run_reloading  # noqa: PLC0415 - each command loads what it needs

        arguments = ["worker", reference, "--url", url, "--concurrency", str(concurrency)]
        arguments += ["--lease-seconds", str(lease_seconds), "--wait-seconds", str(wait_seconds)]
        arguments += ["--grace-seconds", str(grace_seconds), "--implementation-kind", implementation_kind]
        for one in projects:
            arguments += ["--project", one]
        if executor is not None:
            arguments += ["--executor", executor]
        run_reloading(arguments, {"RUNSTEAD_KEY": key}, grace_seconds)
        return
    options = {
        "lease_seconds": lease_seconds,
        "wait_seconds": wait_seconds,
        "grace_seconds": grace_seconds,
        "implementation_kind": implementation_kind,
    }
    _serve(reference, url, key, projects, concurrency, executor, options)


def _serve(
    reference: str,
    url: str,
    key: str,
    projects: list[str],
    concurrency: int,
    executor: str | None,
    options: dict[str, Any],
) -> None:
    import logging  # noqa: PLC0415

    from runstead.cli.shared.app_loader import load  # noqa: PLC0415
    from runstead.cli.shared.event_loop import loop_factory  # noqa: PLC0415
    from runstead.sdk import App, AsyncClient, RunsteadError, WorkerGroup, WorkerSlots  # noqa: PLC0415
    from runstead.sdk.worker.log_handler import RunFilter  # noqa: PLC0415
    from runstead.server.tracing import configure  # noqa: PLC0415

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(run)s%(message)s")
    for handler in logging.root.handlers:
        handler.addFilter(RunFilter())
    for noisy in ("httpx2", "httpcore2"):  # they log every request
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        found = load(reference)
        if not 1 <= concurrency <= 10_000:
            raise ValueError(f"--concurrency must be 1 to 10000, not {concurrency}")
        if len(projects) > concurrency:
            raise ValueError(f"--concurrency must be at least {len(projects)}: one run for each project")
        options["slots"] = WorkerSlots(concurrency)
        if executor is not None and not isinstance(found, App):
            raise ValueError(f"--executor needs an App, but {reference} creates the worker itself")
        cluster = None if executor is None else _cluster(executor)
        if isinstance(found, App):
            found.reference = reference
            options["executor"] = cluster
        workers = []
        for one in projects:
            client = AsyncClient(url, key, project=one, calls_at_once=_CALLS_AT_ONCE)
            make = found.worker if isinstance(found, App) else found
            workers.append(make(client, **options))
        what = ", ".join(found.targets) if isinstance(found, App) else reference
        write_err(f"runstead: serving {what} for {', '.join(projects)} at {url}")
        send_spans = configure("runstead-worker")
        try:
            WorkerGroup(workers, () if cluster is None else [cluster]).run(loop_factory())
        finally:
            send_spans()
    except RunsteadError as refusal:
        fail(f"the server at {url} refused this worker: {refusal}")
    except (ValueError, TypeError, RuntimeError) as error:
        fail(str(error))


def _cluster(executor: str) -> "Executor":
    """The executor for `ray://…` or `dask://…`. ValueError."""
    from runstead.sdk.executors import executor_from  # noqa: PLC0415

    try:
        return executor_from(executor)
    except ImportError as missing:
        extra = executor.partition(":")[0]
        raise ValueError(f"{executor} needs the extra runstead[{extra}]: {missing}") from missing
