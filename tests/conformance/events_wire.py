"""A client of server-sent events that reads chunks and blocks as they come."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import msgspec

from tests.conformance.doors_wire import WAIT_S, EndedError, Place, dial, send_bytes
from tests.conformance.http_wire import Answer, Wire, get


class Happened(NamedTuple):
    """An event as a browser would see it."""

    kind: str
    cursor: str
    data: Any


class EventStream:
    """An answer that goes on."""

    def __init__(
        self, head: Answer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.head = head
        self.writer = writer
        self._reader = reader
        self._text = b""

    async def read_block(self) -> bytes | None:
        """Return what lies before the next empty line, or None at the end of the stream.

        Raises:
            EndedError: The connection broke in the middle.
        """
        try:
            async with asyncio.timeout(WAIT_S):
                while b"\n\n" not in self._text:
                    if not (chunk := await self._read_chunk()):
                        assert self._text == b"", "the stream ended within an event"
                        return None
                    self._text += chunk
        except (asyncio.IncompleteReadError, ConnectionError):
            raise EndedError from None
        block, _, self._text = self._text.partition(b"\n\n")
        return block

    async def _read_chunk(self) -> bytes:
        size = int((await self._reader.readuntil(b"\r\n")).removesuffix(b"\r\n"), 16)
        chunk = await self._reader.readexactly(size + 2)
        assert chunk.endswith(b"\r\n")
        return chunk[:-2]

    async def read(self) -> Happened | None:
        """Return the next event by the rules of the HTML standard, section 9.2.6."""
        block = await self.read_block()
        if block is None:
            return None
        fields = dict(line.split(": ", 1) for line in block.decode().split("\n"))
        assert set(fields) <= {"id", "event", "data"}
        return Happened(fields["event"], fields.get("id", ""), msgspec.json.decode(fields["data"]))

    async def read_seqs(self, count: int) -> list[int]:
        found = [await self.read() for _ in range(count)]
        return [each.data["seq"] for each in found if each is not None]

    async def read_closing(self) -> str:
        """Return why the stream ends; nothing else may come, and it must end."""
        said = await self.read()
        assert said is not None
        assert (said.kind, set(said.data)) == ("closing", {"reason", "message"})
        assert await self.read() is None
        return str(said.data["reason"])


@asynccontextmanager
async def ask_stream(
    place: Place, request: bytes, piece_size_bytes: int = 0
) -> AsyncIterator[EventStream]:
    """Send a request and return what came, be it a stream or a refusal."""
    async with dial(place.web_port, place.trusting) as (reader, writer):
        await send_bytes(writer, request, piece_size_bytes)
        async with asyncio.timeout(WAIT_S):
            head = await Wire(reader, writer).read_answer()
        yield EventStream(head, reader, writer)


@asynccontextmanager
async def follow_events(
    place: Place, feed: str, token: str, *headers: str, piece_size_bytes: int = 0
) -> AsyncIterator[EventStream]:
    request = get(f"/v1/feeds/{feed}", f"Authorization: Bearer {token}", *headers)
    async with ask_stream(place, request, piece_size_bytes) as stream:
        assert stream.head.status == 200, stream.head
        yield stream
