"""Shared by all commands: connection, parsing, output."""
