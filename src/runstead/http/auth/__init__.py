"""Authentication: API keys, worker tokens, JWTs."""
