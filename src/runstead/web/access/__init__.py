"""Signing in, keys, members and limits."""
