"""`runstead worker`."""

from typing import TYPE_CHECKING, Annotated, Any, Final

from cyclopts import Parameter

from runstead.cli.shared.output import refuse, tell

if TYPE_CHECKING:
    from runstead.sdk.isolation.parent_side import Executor

Url = Annotated[str, Parameter(env_var="RUNSTEAD_URL", help="The server; else RUNSTEAD_URL")]
Concurrency = Annotated[int, Parameter(help="Runs at a time, of all projects together")]
Grace = Annotated[float, Parameter(help="How long runs may go on after a stop")]

#: Beside the claims that wait. What is under way at the same time shares the server's commits.
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
            env_var="RUNSTEAD_PROJECT",
            negative="",
            help="Slug or id, once for each; else RUNSTEAD_PROJECT, else default",
        ),
    ] = None,
    concurrency: Concurrency = 4,
    lease_seconds: Annotated[
        int, Parameter(help="5 to 300: a dead worker's runs go to another after that")
    ] = 30,
    wait_seconds: Annotated[int, Parameter(help="0 to 30: how long a claim waits for a run")] = 20,
    grace_seconds: Grace = 30.0,
    implementation_kind: Annotated[str, Parameter(help="Which agent runs, beside their targets")] = "python",
    executor: Annotated[
        str | None, Parameter(help="Where handlers run: ray://… or dask://…; else in this process")
    ] = None,
    reload: Annotated[bool, Parameter(negative="", help="Start anew when a source file changes")] = False,
) -> None:
    """Serve the runs of an app until SIGTERM or Ctrl-C: what runs may finish, and is else given back."""
    projects = list(dict.fromkeys(project or ["default"]))
    if reload:
        from runstead.cli.reloader import keep_up  # noqa: PLC0415 - each command loads what it needs

        arguments = ["worker", reference, "--url", url, "--concurrency", str(concurrency)]
        arguments += ["--lease-seconds", str(lease_seconds), "--wait-seconds", str(wait_seconds)]
        arguments += ["--grace-seconds", str(grace_seconds), "--implementation-kind", implementation_kind]
        for one in projects:
            arguments += ["--project", one]
        if executor is not None:
            arguments += ["--executor", executor]
        keep_up(arguments, {"RUNSTEAD_KEY": key})
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

    import uvloop  # noqa: PLC0415

    from runstead.cli.shared.app_loader import load  # noqa: PLC0415
    from runstead.sdk import App, AsyncClient, RunsteadError, WorkerGroup, WorkerSlots  # noqa: PLC0415

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    for noisy in ("httpx2", "httpcore2"):  # behind a proxy
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        found = load(reference)
        if not 1 <= concurrency <= 10_000:
            raise ValueError(f"--concurrency is 1 to 10000, not {concurrency}")
        if len(projects) > concurrency:
            raise ValueError(
                f"--concurrency must be at least {len(projects)}: one run of each project at a time"
            )
        places = WorkerSlots(concurrency)
        options["places"] = places
        if executor is not None and not isinstance(found, App):
            raise ValueError(f"--executor is for apps, and {reference} makes a worker by itself")
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
        tell(f"runstead: serving {what} for {', '.join(projects)} at {url}")
        WorkerGroup(workers, () if cluster is None else [cluster]).run(uvloop.new_event_loop)
    except RunsteadError as refusal:
        refuse(f"the server at {url} does not take this worker: {refusal}")
    except (ValueError, TypeError) as trouble:
        refuse(str(trouble))


def _cluster(executor: str) -> "Executor":
    """ValueError."""
    from runstead.sdk.executors import executor_from  # noqa: PLC0415

    try:
        return executor_from(executor)
    except ImportError as missing:
        extra = executor.partition(":")[0]
        raise ValueError(f"{executor} needs the extra runstead[{extra}]: {missing}") from missing
