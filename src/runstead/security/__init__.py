"""Signing, encryption, and calls to addresses that callers chose."""
