"""The doors: bytes in, calls out, the same answer at each.

A door is a folder: ``protocol.py`` is pure (bytes to ``Call``, ``Reply`` to bytes, not one
await), ``server.py`` owns the sockets and every bound on them. ``tls.py`` serves them all.
Doors see ``core``, ``ports`` and ``action``; they never see a room or each other.
"""
