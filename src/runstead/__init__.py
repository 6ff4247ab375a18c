"""Runstead: a self-hosted control plane for durable runs.

A client starts runs, follows them and reads their results:

    from runstead import Client

    with Client("http://127.0.0.1:8720", "vf_local_YOUR-KEY", project="default") as client:
        run = client.start("task:inventory", input={"path": "."})
        for event in run.events():
            print(event.event_id, event.event_type)
        print(run.result())
"""

TYPE_CHECKING = False  # as that of typing, which costs more than the rest

if TYPE_CHECKING:
    from runstead.sdk import (
        App,
        AsyncClient,
        BlockingRunHandle,
        ChildFailed,
        Client,
        Context,
        LeaseLostError,
        NoAnswerError,
        RunCancelled,
        RunDiffersWarning,
        RunFailed,
        RunHandle,
        RunsteadError,
        Step,
        StepFailed,
        ThreadContext,
        WaitTimeout,
        Worker,
    )

__version__ = "0.1.0"
__all__ = [
    "App",
    "AsyncClient",
    "BlockingRunHandle",
    "ChildFailed",
    "Client",
    "Context",
    "LeaseLostError",
    "NoAnswerError",
    "RunCancelled",
    "RunDiffersWarning",
    "RunFailed",
    "RunHandle",
    "RunsteadError",
    "Step",
    "StepFailed",
    "ThreadContext",
    "WaitTimeout",
    "Worker",
]


if not TYPE_CHECKING:  # with it, checkers would accept every name

    def __getattr__(name: str) -> object:
        # `import runstead` alone loads nothing: the command line and the server start with it too.
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        import importlib  # noqa: PLC0415

        value = globals()[name] = getattr(importlib.import_module("runstead.sdk"), name)
        return value

    def __dir__() -> list[str]:
        return [*__all__, "__version__"]
