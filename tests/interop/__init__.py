"""The published npm clients, unchanged, with the real server."""
