"""A run, its events, and the state machine."""
