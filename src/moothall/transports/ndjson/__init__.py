"""The NDJSON door: JSON-RPC 2.0, a line a message, over TLS.

Read it in this order: ``bounds`` (how much of anything there may be), ``protocol`` (pieces to
lines), ``connection`` (one client), ``server`` (start and stop). What a line means stands in
``transports/jsonrpc``.
"""

from moothall.transports.ndjson.bounds import NdjsonBounds
from moothall.transports.ndjson.server import NdjsonServer

__all__ = ["NdjsonBounds", "NdjsonServer"]
