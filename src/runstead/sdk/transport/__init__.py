"""Sends requests and follows streams.

An `AsyncClient` sends over its own HTTP/1.1 connections (`pool.py`, `connection.py`) or through httpx2
(`httpx_transport.py`). Both take and return the values of `message.py`.
"""
