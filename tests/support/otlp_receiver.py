"""A receiver of traces over OTLP/HTTP (https://opentelemetry.io/docs/specs/otlp/), in the test's process."""

import gzip
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SentSpan


class Span(NamedTuple):
    service: str
    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    attributes: dict
    links: tuple  # (trace id, span id)
    failed: bool
    start_ns: int
    end_ns: int


def _value(value):
    kind = value.WhichOneof("value")
    return (
        [_value(one) for one in value.array_value.values] if kind == "array_value" else getattr(value, kind)
    )


def _attributes(pairs):
    return {pair.key: _value(pair.value) for pair in pairs}


class OtlpReceiver:
    """Keeps the spans that arrive at `url`, in order."""

    def __enter__(self):
        self.spans: list[Span] = []
        self._arrived = threading.Condition()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                receiver._take(self.path, body)
                answer = ExportTraceServiceResponse().SerializeToString()
                self.send_response(200)
                self.send_header("content-type", "application/x-protobuf")
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()

    def _take(self, path, body):
        assert path == "/v1/traces", path
        request = ExportTraceServiceRequest.FromString(body)
        spans = [
            Span(
                service=_attributes(of_resource.resource.attributes)["service.name"],
                name=span.name,
                kind=SentSpan.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
                trace_id=span.trace_id.hex(),
                span_id=span.span_id.hex(),
                parent_id=span.parent_span_id.hex(),
                attributes=_attributes(span.attributes),
                links=tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
                failed=span.status.code == 2,
                start_ns=span.start_time_unix_nano,
                end_ns=span.end_time_unix_nano,
            )
            for of_resource in request.resource_spans
            for of_scope in of_resource.scope_spans
            for span in of_scope.spans
        ]
        with self._arrived:
            self.spans += spans
            self._arrived.notify_all()

    def wait_for(self, name, trace_id=None, *, count=1, seconds=60):
        """The spans of this name, of one trace or of all, once there are `count` of them."""

        def found():
            return [s for s in self.spans if s.name == name and trace_id in (None, s.trace_id)]

        with self._arrived:
            arrived = self._arrived.wait_for(lambda: len(found()) >= count, timeout=seconds)
            assert arrived, f"{len(found())} spans {name!r} among {sorted({s.name for s in self.spans})}"
            return found()
