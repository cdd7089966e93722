"""The private door: metrics, readiness and liveness, for programs that watch over the hall.

It is not one of the hall's doors: no call comes through it, it has no TLS and asks nobody who they
are. So it listens at this machine only, unless the operator names another address, and can do very
little: one GET or HEAD of at most 8 KiB a connection, eight connections, five seconds.
"""

import asyncio
import contextlib
import errno
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import TypeAlias

import msgspec
import structlog

from moothall.app.config import Settings
from moothall.app.watch import Answer, Watch
from moothall.core.errors import ConfigurationError

CONNECTIONS_MAX = 8
HEAD_BYTES_MAX = 8_192
SECONDS_MAX = 5.0
"""From the first byte of a request to the last of its answer, the wait for both included."""

_REQUEST_LINE = re.compile(rb"([A-Z]{1,16}) (/[!-~]*) HTTP/1\.[01]")
_BODY = re.compile(
    rb"\r\n(?:transfer-encoding|content-length):(?![ \t]*0[ \t]*\r\n)", re.IGNORECASE
)

_log = structlog.get_logger("moothall.private_door")

Respond: TypeAlias = Callable[[str], Awaitable[Answer | None]]
"""Answers a GET of a path, or None where there is nothing."""


class PrivateDoor:
    """A server of HTTP/1.1 that can answer a GET and nothing else.

    Args:
        respond: Answers a path.
        host: Name or address to listen at.
        port: 0 for a free one; see the attribute after the start.
        seconds_max: How long one connection may take.

    Attributes:
        port: Where it listens, once started.
    """

    def __init__(
        self, respond: Respond, host: str, port: int, *, seconds_max: float = SECONDS_MAX
    ) -> None:
        self._respond = respond
        self._host = host
        self._seconds_max = seconds_max
        self.port = port
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[object]] = set()

    async def start(self) -> None:
        """Listen.

        Raises:
            OSError: The address cannot be had.
        """
        server = await asyncio.start_server(
            self._meet, self._host, self.port, limit=HEAD_BYTES_MAX, backlog=CONNECTIONS_MAX
        )
        self._server = server
        self.port = server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close, and cut off who is still being answered."""
        if self._server is None:
            return
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request, and close."""
        task = asyncio.current_task()
        assert task is not None
        if len(self._tasks) >= CONNECTIONS_MAX:
            writer.transport.abort()
            return
        self._tasks.add(task)
        try:
            async with asyncio.timeout(self._seconds_max):
                writer.write(await self._serve(reader))
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        except (TimeoutError, OSError, asyncio.IncompleteReadError):
            pass  # too slow, or gone: nobody is there to be told
        finally:
            writer.transport.abort()
            self._tasks.discard(task)

    async def _serve(self, reader: asyncio.StreamReader) -> bytes:
        """Read a request and return what to send."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            return _encode(_refuse(431))
        request = _REQUEST_LINE.match(head)
        if request is None or not head.startswith(b"\r\n", request.end()):
            return _encode(_refuse(400))
        if _BODY.search(head):
            return _encode(_refuse(413))
        method, target = request[1].decode(), request[2].decode()
        if method not in {"GET", "HEAD"}:
            return _encode(_refuse(405))
        try:
            answer = await self._respond(target.partition("?")[0]) or _refuse(404)
        except Exception as error:  # noqa: BLE001 - a bug answers 500; the log has the rest
            _log.error("the private door failed", path=target[:64], exc_info=error)
            answer = _refuse(500)
        return _encode(answer, with_body=method == "GET")


def _refuse(status: int) -> Answer:
    """Return an answer that says only its status."""
    return Answer(status, msgspec.json.encode({"status": HTTPStatus(status).phrase}))


def _encode(answer: Answer, *, with_body: bool = True) -> bytes:
    """Return an answer as HTTP writes it (RFC 9112); the connection ends with it."""
    lines = [
        f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}",
        f"Content-Type: {answer.content_type}",
        f"Content-Length: {len(answer.body)}",
        "Cache-Control: no-store",
        "X-Content-Type-Options: nosniff",
        "Connection: close",
    ]
    if answer.status == HTTPStatus.METHOD_NOT_ALLOWED:
        lines.append("Allow: GET, HEAD")
    head = "\r\n".join([*lines, "", ""]).encode("ascii")
    return head + answer.body if with_body else head


@asynccontextmanager
async def open_private_door(settings: Settings, watch: Watch) -> AsyncIterator[PrivateDoor | None]:
    """Let programs ask ``watch`` until the end; gives None where nobody can.

    Raises:
        ConfigurationError: The operator named an address or a port that cannot be had.
    """
    door = await _start(settings, watch)
    try:
        yield door
    finally:
        if door is not None:
            with contextlib.suppress(OSError):
                await door.stop()


async def _start(settings: Settings, watch: Watch) -> PrivateDoor | None:
    """Open the door that the settings ask for, or none."""
    host, port = settings.metrics_host, settings.watch_port
    if port is None:
        return None
    if not host:
        msg = "metrics_host: it is empty; name an address, or give metrics_port = -1 for none"
        raise ConfigurationError(msg)
    if port and port in {settings.port, settings.line_port}:
        msg = f"metrics_port: a door of the hall listens at {port}; choose another one, or -1"
        raise ConfigurationError(msg)
    door = PrivateDoor(watch.answer, host, port)
    try:
        await door.start()
    except OSError as error:
        reason = error.strerror or str(error)
        if settings.metrics_port is None and error.errno in {errno.EADDRINUSE, errno.EACCES}:
            # Another hall of this machine may have it; this one must start all the same.
            told = "no metrics, because nobody can listen there; set metrics_port"
            _log.warning(told, host=host, port=port, error=reason)
            return None
        msg = (
            f"metrics_port: cannot listen at {host!r} port {port}: {reason}; choose another "
            "metrics_host or metrics_port, or -1 for none"
        )
        raise ConfigurationError(msg) from None
    return door
