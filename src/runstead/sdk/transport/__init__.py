"""How an `AsyncClient` sends requests: over its own HTTP/1.1 connections (`pool.py`, `connection.py`), or through httpx2
(`through_httpx.py`). Both speak in the values of `message.py`.
"""
