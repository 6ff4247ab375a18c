"""Schedules, cron expressions and triggers: what starts runs without an API client."""
