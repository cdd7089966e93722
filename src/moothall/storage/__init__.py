"""Databases: one folder per engine, each keeping the promise of ``ports/database.py``."""
