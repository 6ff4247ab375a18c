"""Change notifications: within the process, over PostgreSQL, over NATS."""
