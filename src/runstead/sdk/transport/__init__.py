"""How an `AsyncClient` sends requests: over its own HTTP/1.1 connections (`pool.py`, `connection.py`), or through httpx2
(`httpx_transport.py`). Both speak in the values of `message.py`.
"""
