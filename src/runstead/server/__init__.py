"""Builds the server from its parts and runs it: the only folder that imports all others."""
