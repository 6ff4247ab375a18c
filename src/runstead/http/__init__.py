"""The HTTP side: handlers parse, call, render. No rules, no SQL."""
