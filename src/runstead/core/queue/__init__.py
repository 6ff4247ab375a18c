"""Which runs a worker gets next: workers, push services, concurrency limits, round robin."""
