"""Alert rules: what they measure, when they fire and resolve, and the messages that they send."""
