"""Databases: one folder per engine, each keeping the promise of ``ports/database.py``.

``errors`` holds what all of them raise when a call breaks the rules of a transaction.
"""
