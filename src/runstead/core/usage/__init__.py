"""Tokens, prices, reports, and the sums they are read from."""
