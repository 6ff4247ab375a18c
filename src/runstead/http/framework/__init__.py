"""The HTTP framework: protocol, routing, bodies, problems, server-sent events."""
