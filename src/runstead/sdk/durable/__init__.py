"""The context of a handler: steps, waits, messages, and what a later attempt reads back."""
