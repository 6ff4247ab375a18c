"""What several folders of tests use: servers, stores, a clock, waiting for a condition."""
