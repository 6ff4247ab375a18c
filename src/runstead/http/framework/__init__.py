"""From bytes to a handler and back: protocol, routing, bodies, problems, server-sent events."""
