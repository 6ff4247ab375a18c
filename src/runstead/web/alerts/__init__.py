"""Alert rules and their history."""
