"""What decides which run is handed out next: workers, push services, concurrency limits, round robin."""
