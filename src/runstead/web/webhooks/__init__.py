"""Webhooks, their deliveries, and triggers."""
