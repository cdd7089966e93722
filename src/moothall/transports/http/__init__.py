"""The HTTPS door: ``POST /v1/<room>.<action>`` and three documents (RFC 9110, RFC 9112).

Read it in this order: ``bounds`` (how much of anything there may be), ``protocol`` (what the
bytes mean), ``origins`` (whose pages may call), ``application`` (one raw ASGI function),
``state`` (what a connection tells it beside the request), ``connection`` and ``cycle`` (what
uvicorn leaves unbounded), ``feeds``, ``event_stream`` and ``files`` (answers that stream),
``server`` (start and stop). Listening is ``transports/listener.py``. Decision 0003 tells why.
"""

from moothall.transports.http.application import Documents
from moothall.transports.http.bounds import HttpBounds
from moothall.transports.http.openapi import build_openapi
from moothall.transports.http.server import HttpServer

__all__ = ["Documents", "HttpBounds", "HttpServer", "build_openapi"]
