"""The Python SDK: a blocking client, an asynchronous client, and a worker. It uses the HTTP API only."""

import importlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from runstead.sdk.app import App as App
    from runstead.sdk.async_client import AsyncClient as AsyncClient
    from runstead.sdk.client import Client as Client
    from runstead.sdk.durable.context import Context as Context
    from runstead.sdk.durable.emitter import LeaseLostError as LeaseLostError
    from runstead.sdk.durable.races import First as First
    from runstead.sdk.durable.step_options import Step as Step
    from runstead.sdk.durable.step_results import (
        ChildFailed as ChildFailed,
        StepFailed as StepFailed,
        WaitTimeout as WaitTimeout,
    )
    from runstead.sdk.durable.thread_context import ThreadChild as ThreadChild, ThreadContext as ThreadContext
    from runstead.sdk.durable.waits import Child as Child
    from runstead.sdk.errors import (
        NoAnswerError as NoAnswerError,
        RunCancelled as RunCancelled,
        RunDiffersWarning as RunDiffersWarning,
        RunFailed as RunFailed,
        RunsteadError as RunsteadError,
        UnexpectedAnswerError as UnexpectedAnswerError,
    )
    from runstead.sdk.handle import BlockingRunHandle as BlockingRunHandle, RunHandle as RunHandle
    from runstead.sdk.isolation.failure import ProcessFailed as ProcessFailed
    from runstead.sdk.resources import Calls as Calls
    from runstead.sdk.routes.call import Call as Call
    from runstead.sdk.task import Task as Task
    from runstead.sdk.transport.retry import Retries as Retries
    from runstead.sdk.worker.group import WorkerGroup as WorkerGroup
    from runstead.sdk.worker.handler import Handler as Handler
    from runstead.sdk.worker.slots import WorkerSlots as WorkerSlots
    from runstead.sdk.worker.worker import Worker as Worker

#: Where each exported name is defined. Its module is imported when the name is first used.
_MODULES: Final = {
    "App": "app",
    "AsyncClient": "async_client",
    "BlockingRunHandle": "handle",
    "Call": "routes.call",
    "Calls": "resources",
    "Child": "durable.waits",
    "ChildFailed": "durable.step_results",
    "Client": "client",
    "Context": "durable.context",
    "First": "durable.races",
    "Handler": "worker.handler",
    "LeaseLostError": "durable.emitter",
    "NoAnswerError": "errors",
    "ProcessFailed": "isolation.failure",
    "Retries": "transport.retry",
    "RunCancelled": "errors",
    "RunDiffersWarning": "errors",
    "RunFailed": "errors",
    "RunHandle": "handle",
    "RunsteadError": "errors",
    "Step": "durable.step_options",
    "StepFailed": "durable.step_results",
    "Task": "task",
    "ThreadChild": "durable.thread_context",
    "ThreadContext": "durable.thread_context",
    "UnexpectedAnswerError": "errors",
    "WaitTimeout": "durable.step_results",
    "Worker": "worker.worker",
    "WorkerGroup": "worker.group",
    "WorkerSlots": "worker.slots",
}
__all__ = list(_MODULES)


if not TYPE_CHECKING:  # with it, checkers would accept every name

    def __getattr__(name: str) -> object:
        module = _MODULES.get(name)
        if module is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(importlib.import_module(f"{__name__}.{module}"), name)
        return value

    def __dir__() -> list[str]:
        return __all__
