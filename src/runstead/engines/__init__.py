"""Implementations of the ports. They store what the core decided and hold no rule."""
