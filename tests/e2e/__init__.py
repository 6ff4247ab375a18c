"""The real program as a process, used over HTTP: failures, restarts and wrong input."""
