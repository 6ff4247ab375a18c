"""Batches: runs that are created together and counted together."""
