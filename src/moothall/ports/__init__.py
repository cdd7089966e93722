"""What the house needs from the world, as Protocols and nothing else.

Each port is one small file: a promise in words and types. Adapters keep it
(``storage/``, ``app/``, a room's ``adapters.py``), and one contract suite per
port in ``tests/contract`` runs on every adapter.
"""
