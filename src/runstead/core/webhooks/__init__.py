"""Webhooks, their events and deliveries."""
