"""Budgets: how much the runs of a scope may spend in a period, and what happens when they have."""
