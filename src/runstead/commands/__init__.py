"""Commands: one file per noun, one function per command.

Each authorizes the caller, applies a rule and publishes.
"""
