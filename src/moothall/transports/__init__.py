"""The doors: bytes in, calls out, the same answer at each.

A door is a folder: ``protocol.py`` is pure (bytes to ``Call``, ``Reply`` to bytes, not one
await), ``server.py`` owns the connections and every bound on them. ``listener.py`` (sockets, seats,
handshakes), ``proxies.py`` (whom a proxy speaks for) and ``tls.py`` serve them all.
Doors see ``core``, ``ports`` and ``action``; they never see a room or each other.
"""
