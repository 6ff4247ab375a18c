"""The documentation, at `/docs`."""
