"""Runstead: a self-hosted control plane for durable runs."""

__version__ = "0.1.0"
