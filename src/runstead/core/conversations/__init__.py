"""Conversations, their messages, and the forms that runs wait for."""
