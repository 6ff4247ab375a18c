"""What the core needs from outside, as protocols: the store, the notifier, artifacts, metrics."""
