"""Export of traces, configured by the standard OTEL_* variables.

https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
The SDK itself reads those of the resource, of the sampler, of the batches and of the exporter.
"""

# ruff: noqa: PLC0415 - OpenTelemetry is imported where it is used: it takes longer than the rest of a start
import os
import sys
from collections.abc import Callable, Mapping
from functools import partial
from threading import Thread
from typing import Any, Final

from runstead import __version__
from runstead.core import limits
from runstead.ports import tracing

_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
#: Values of the protocol, and the name and the package of its exporter.
_OTLP: Final = {
    "http/protobuf": ("otlp_proto_http", "runstead[otel]"),
    "grpc": ("otlp_proto_grpc", "opentelemetry-exporter-otlp-proto-grpc"),
}


def exporter_names(environ: Mapping[str, str]) -> list[str]:
    """Return the exporters that the variables name. Empty: traces are not exported.

    The default of OTEL_TRACES_EXPORTER is `otlp` where an endpoint is set, and otherwise none.
    """
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return []
    default = "otlp" if any(environ.get(name, "").strip() for name in _ENDPOINTS) else ""
    names = (environ.get("OTEL_TRACES_EXPORTER", "").strip() or default).split(",")
    return [name for one in names if (name := one.strip()) and name != "none"]


def configure(service: str, environ: Mapping[str, str] = os.environ) -> Callable[[], None]:
    """Set OpenTelemetry's tracer provider as the variables want it. Return a function that sends what is left.

    A provider that the program has already, as under `opentelemetry-instrument`, is used as it is. `service` is the
    name without OTEL_SERVICE_NAME. Raises RuntimeError for a missing package, ValueError for an unknown protocol.
    """
    names = exporter_names(environ)
    if not names:
        return _nothing
    from opentelemetry import trace

    if not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        return _nothing
    try:
        from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ModuleNotFoundError as missing:
        raise RuntimeError(
            "the OTEL_* variables ask for traces, and the package opentelemetry-sdk is missing:"
            " pip install 'runstead[otel]', or set OTEL_SDK_DISABLED=true"
        ) from missing
    named = Resource({SERVICE_NAME: service, "service.version": __version__})
    resource = Resource.create().merge(named).merge(OTELResourceDetector().detect())
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    for name in names:
        provider.add_span_processor(BatchSpanProcessor(_exporter(name, environ)))
    trace.set_tracer_provider(provider)
    return partial(_send_rest, provider.shutdown)


def enable() -> None:
    """Trace the requests of this process, if it has a tracer provider."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is not None and not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        tracing.tracer = trace.get_tracer("runstead", __version__)


def _exporter(name: str, environ: Mapping[str, str]) -> Any:
    from importlib.metadata import entry_points

    package = f"opentelemetry-exporter-{name}"
    if name == "otlp":
        protocol = next(
            (value for one in _PROTOCOLS if (value := environ.get(one, "").strip())), "http/protobuf"
        )
        if protocol not in _OTLP:
            raise ValueError(f"{_PROTOCOLS[1]} is one of {', '.join(_OTLP)}, not {protocol!r}")
        name, package = _OTLP[protocol]
    for found in entry_points(group="opentelemetry_traces_exporter", name=name):
        return found.load()()
    raise RuntimeError(
        f"the OTEL_* variables ask for traces by the exporter {name}, which is not installed:"
        f" pip install '{package}', or set OTEL_SDK_DISABLED=true"
    )


def _send_rest(shutdown: Callable[[], None]) -> None:
    """Send the spans that are left. A collector that does not answer delays the end of the program by little."""
    sending = Thread(target=shutdown, daemon=True)
    sending.start()
    sending.join(limits.spans_sent_s_max)


def _nothing() -> None:
    """Without an own provider nothing is left to send."""
