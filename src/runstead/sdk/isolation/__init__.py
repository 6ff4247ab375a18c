"""Handlers in child processes: the messages between worker and child, and how a child process is ended."""
