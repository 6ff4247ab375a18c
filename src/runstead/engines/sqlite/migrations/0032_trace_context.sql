-- The W3C trace context of the request that created a run: traceparent, and tracestate after a space.
ALTER TABLE runs ADD COLUMN trace_context TEXT;
