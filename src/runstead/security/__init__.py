"""Signing, encryption, and guarded requests to addresses that callers chose."""
