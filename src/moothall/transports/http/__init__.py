"""The HTTPS door: ``POST /v1/<room>.<action>`` and three documents (RFC 9110, RFC 9112).

Read it in this order: ``bounds`` (how much of anything there may be), ``protocol`` (what the
bytes mean), ``origins`` (whose pages may call), ``application`` (one raw ASGI function),
``connection`` (what uvicorn leaves unbounded), ``server`` (start and stop). Listening is
``transports/listener.py``. Decision 0003 tells why.
"""

from moothall.transports.http.bounds import HttpBounds
from moothall.transports.http.openapi import build_openapi
from moothall.transports.http.server import HttpDoor

__all__ = ["HttpBounds", "HttpDoor", "build_openapi"]
