"""Handlers in processes of their own: what they and the worker say to each other, and how such a process is ended."""
