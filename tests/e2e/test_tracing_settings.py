"""The OTEL_* variables: which exporter they name, and what is refused at the start with a sentence."""

import sys

import pytest

from runstead.server import tracing
from runstead.server.tracing import configure, exporter_names
from tests.support.server import runstead

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}


@pytest.mark.parametrize(
    ("environ", "names"),
    [
        ({}, []),
        (ENDPOINT, ["otlp"]),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318/v1/traces"}, ["otlp"]),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": " "}, []),
        ({"OTEL_TRACES_EXPORTER": "console, otlp"}, ["console", "otlp"]),
        (ENDPOINT | {"OTEL_TRACES_EXPORTER": "none"}, []),
        (ENDPOINT | {"OTEL_SDK_DISABLED": "True"}, []),
        (ENDPOINT | {"OTEL_SDK_DISABLED": "1"}, ["otlp"]),  # only "true" counts, says the specification
    ],
)
def test_the_variables_name_the_exporters(environ, names):
    assert exporter_names(environ) == names


def test_a_start_without_the_extra_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.resources", None)
    with pytest.raises(RuntimeError, match=r"opentelemetry-sdk is missing: pip install 'runstead\[otel\]'"):
        configure("runstead", ENDPOINT)


@pytest.mark.parametrize(
    ("environ", "package"),
    [
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "opentelemetry-exporter-otlp-proto-grpc"),
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "opentelemetry-exporter-zipkin"),
    ],
)
def test_a_missing_exporter_is_named_with_its_package(environ, package):
    with pytest.raises(RuntimeError, match=f"not installed: pip install '{package}'"):
        configure("runstead", ENDPOINT | environ)


def test_an_unknown_protocol_is_refused():
    with pytest.raises(ValueError, match="is one of http/protobuf, grpc, not 'smoke'"):
        configure("runstead", ENDPOINT | {"OTEL_EXPORTER_OTLP_PROTOCOL": "smoke"})


def test_nothing_is_traced_without_a_provider():
    configure("runstead", {})()
    tracing.enable()
    assert tracing.tracing.tracer is None


def test_the_server_ends_with_that_sentence_and_creates_no_store(tmp_path):
    status, _, stderr = runstead("serve", "--port", "0", cwd=tmp_path, OTEL_TRACES_EXPORTER="zipkin")
    assert (status, list(tmp_path.iterdir())) == (1, [])
    assert "pip install 'opentelemetry-exporter-zipkin', or set OTEL_SDK_DISABLED=true" in stderr
