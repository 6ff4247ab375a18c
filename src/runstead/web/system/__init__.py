"""Servers, loops and workers."""
