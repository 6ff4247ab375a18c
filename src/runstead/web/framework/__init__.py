"""Shared by all pages: routing, rendering, forms, live updates, assets."""
