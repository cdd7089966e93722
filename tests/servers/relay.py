"""Relay: a cable between a client and a server, which a test can pull out."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Self

Place = tuple[str, int]


class Relay:
    """Passes bytes on, from a port of its own; or keeps them to itself, while it is cut.

    Attributes:
        port: Where it listens, at 127.0.0.1.
        target: Says where a new connection goes; None refuses it.
    """

    def __init__(self, target: Callable[[], Place | None], port: int = 0) -> None:
        """Lead to wherever ``target`` says at the time, from ``port`` or any that is free."""
        self.port = port
        self.target = target
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._is_whole = asyncio.Event()
        self._is_whole.set()

    async def __aenter__(self) -> Self:
        """Listen."""
        self._server = await asyncio.start_server(self._take, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_error: object) -> None:
        """End all connections."""
        assert self._server is not None
        self._server.close()
        self.drop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def cut(self) -> None:
        """Carry nothing any more: both sides hear nothing, and no connection ends."""
        self._is_whole.clear()

    def mend(self) -> None:
        """Carry again; what was sent meanwhile arrives."""
        self._is_whole.set()

    def drop(self) -> None:
        """End all connections that there are, at both sides."""
        for writer in self._writers:
            writer.transport.abort()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Lead one connection."""
        await self._is_whole.wait()
        place = self.target()
        try:
            assert place is not None
            there, back = await asyncio.open_connection(*place)
        except (AssertionError, OSError):
            writer.transport.abort()
            return
        self._writers |= {writer, back}
        for source, sink in ((reader, back), (there, writer)):
            task = asyncio.create_task(self._carry(source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        """Carry what one side says to the other."""
        with contextlib.suppress(ConnectionError):
            while data := await source.read(65_536):
                await self._is_whole.wait()
                sink.write(data)
                await sink.drain()
        self._writers.discard(sink)
        sink.transport.abort()
