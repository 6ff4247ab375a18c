"""A worker: claiming, leases, calling handlers, sending events."""
