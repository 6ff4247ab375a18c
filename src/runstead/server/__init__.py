"""Puts the parts together and runs them: the only folder that knows all others."""
