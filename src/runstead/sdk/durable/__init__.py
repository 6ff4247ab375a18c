"""The context of a handler: steps, waits, messages, and the history that later attempts read."""
