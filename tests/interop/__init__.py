"""The published clients, unchanged, against the real server."""
