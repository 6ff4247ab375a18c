"""Runs that are created together and counted together."""
