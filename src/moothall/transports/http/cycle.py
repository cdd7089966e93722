"""One request and its answer, written in one piece.

uvicorn writes the head of an answer and its body apart, which under TLS is two records, and
searches every header for control characters; ours are made of constants, numbers and ids.
An answer without ``content-length`` (a stream) goes uvicorn's way.
"""

from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

_WITHOUT_BODY = frozenset({204, 304})


class HttpCycle(RequestResponseCycle):
    """A request, from its head to the end of its answer."""

    _head: list[bytes] | None = None
    _is_whole = False

    async def send(self, message: Any) -> None:
        """Take an ASGI message; the head waits for the first piece of the body."""
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.transport.is_closing():
            # Reset by the client, and the cycle is not told yet; uvloop lets nobody write now.
            self.disconnected = True
        if self.disconnected:
            return
        if not self.response_started:
            self._begin(message)
            if self._is_whole:
                return
        if self._is_whole and not self.response_complete:
            self._write_body(message.get("body", b""), more_body=message.get("more_body", False))
        else:
            await super().send(message)

    def _begin(self, message: dict[str, Any]) -> None:
        """Prepare the head, if it says how long the answer is."""
        status = cast("int", message["status"])
        lines = [STATUS_LINE[status]]
        is_whole = status in _WITHOUT_BODY
        says_close = False
        for name, value in (*self.default_headers, *message["headers"]):
            lines += (name, b": ", value, b"\r\n")
            if name == b"content-length":
                is_whole = True
            elif name == b"connection":
                says_close = True  # ours says nothing else
        if says_close:
            self.keep_alive = False
        elif not self.keep_alive:
            lines.append(b"connection: close\r\n")
        if is_whole:
            self._is_whole = self.response_started = True
            self.waiting_for_100_continue = False
            lines.append(b"\r\n")
            self._head = lines

    def _write_body(self, body: bytes, *, more_body: bool) -> None:
        if self.scope["method"] == "HEAD":
            body = b""
        if self._head is not None:
            self._head.append(body)
            self.transport.write(b"".join(self._head))
            self._head = None
        elif body:
            self.transport.write(body)
        if not more_body:
            self.response_complete = True
            self.message_event.set()
            # The connection knows how to end, if this was its last request.
            self.on_response()
