"""Who calls: API keys, worker tokens, JWTs."""
