"""Schedules, cron expressions and triggers: what starts runs by itself."""
