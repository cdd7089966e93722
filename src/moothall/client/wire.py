"""Connections that stay: messages over TLS, as lines or as a WebSocket.

A wire moves whole messages and knows nothing of what they mean. The handshake of TLS is over,
and with it the question who is spoken to, before the first byte of a message (`trust.py`).
"""

import asyncio
import logging
import ssl
from typing import TYPE_CHECKING, Protocol

from moothall import __version__
from moothall.client.address import Address
from moothall.client.errors import CallError, CallTimeoutError, HallUnreachableError
from moothall.client.exchange import Answer
from moothall.client.problems import find_problem
from moothall.client.trust import Connect, TrustFinder, make_tls, unreachable

if TYPE_CHECKING:
    from websockets.client import ClientProtocol
    from websockets.http11 import Response
    from websockets.protocol import Event

SOCKET_PATH = "/v1/socket"

_PIECE_BYTES = 65_536
_UPGRADED = 101
_CLOSE_TIMEOUT_S = 2.0

# Frames hold tokens; nothing of them may reach the log of a program that logs everything.
_silent = logging.getLogger("moothall.client.websocket")
_silent.setLevel(logging.CRITICAL + 1)


class MessageTooLargeError(Exception):
    """The hall sends a larger message than may be read."""


class Wire(Protocol):
    """A connection that moves messages."""

    def send(self, message: bytes) -> None:
        """Queue one message."""
        ...

    async def drained(self) -> None:
        """Return when little waits to leave.

        Raises:
            OSError: The connection is broken.
        """
        ...

    async def receive(self) -> list[bytes]:
        """Return what has come: messages, or nothing but a sign of life.

        Raises:
            EOFError: Nothing more will come.
            OSError: The connection is broken.
            MessageTooLargeError: A message is too large.
        """
        ...

    def close(self) -> None:
        """Close; what was queued still leaves."""
        ...

    def abort(self) -> None:
        """Close without a word."""
        ...

    async def closed(self) -> None:
        """Return when nothing is left of the connection, and soon in any case."""
        ...


class NdjsonWire:
    """Each message is a line."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, message_bytes_max: int
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._message_bytes_max = message_bytes_max
        self._rest = bytearray()

    def send(self, message: bytes) -> None:
        """Queue one message; a line break inside JSON text is but a space."""
        self._writer.write(message.replace(b"\n", b" ") + b"\n")

    async def drained(self) -> None:
        """Return when little waits to leave."""
        await self._writer.drain()

    async def receive(self) -> list[bytes]:
        """Return the lines that are whole now."""
        piece = await self._reader.read(_PIECE_BYTES)
        if not piece:
            raise EOFError
        head, separator, tail = piece.rpartition(b"\n")
        lines: list[bytes] = []
        if separator:
            self._rest += head
            lines = bytes(self._rest).split(b"\n")
            self._rest = bytearray()
        self._rest += tail
        if len(self._rest) > self._message_bytes_max:
            raise MessageTooLargeError
        return [line for line in lines if line.strip()]

    def close(self) -> None:
        """Close; what was queued still leaves."""
        self._writer.close()

    def abort(self) -> None:
        """Close without a word."""
        self._writer.transport.abort()

    async def closed(self) -> None:
        """Return when nothing is left of the connection."""
        await _closed(self._writer)


class WebSocketWire:
    """Each message is a text message of a WebSocket (RFC 6455)."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        protocol: "ClientProtocol",
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._protocol = protocol
        self._fragments: list[bytes] = []
        self._early: list[bytes] = []

    async def open(self, address: Address) -> None:
        """Shake hands.

        Raises:
            CallError: The hall has no place for this connection now.
            HallUnreachableError: What answers there is no WebSocket of a hall.
            EOFError: It answered nothing.
        """
        request = self._protocol.connect()
        request.headers["User-Agent"] = f"moothall/{__version__}"
        self._protocol.send_request(request)
        self._flush()
        while self._protocol.handshake_exc is None:
            piece = await self._reader.read(_PIECE_BYTES)
            if piece:
                self._protocol.receive_data(piece)
            else:
                self._protocol.receive_eof()
            self._flush()
            if events := self._protocol.events_received():
                _check_response(address, events[0])  # type: ignore[arg-type] # always a response
                self._early = self._whole(events[1:])
                return
            if not piece:
                break
        raise EOFError("the WebSocket handshake was not answered")

    def send(self, message: bytes) -> None:
        """Queue one message; nothing after the hall has closed."""
        from websockets.protocol import State  # noqa: PLC0415 - as below

        if self._protocol.state is State.OPEN:
            self._protocol.send_text(message)
            self._flush()

    async def drained(self) -> None:
        """Return when little waits to leave."""
        await self._writer.drain()

    async def receive(self) -> list[bytes]:
        """Return the messages that are whole now; a ping is answered, and gives none."""
        if self._early:
            messages, self._early = self._early, []
            return messages
        self._check_end()
        piece = await self._reader.read(_PIECE_BYTES)
        if not piece:
            raise EOFError
        self._protocol.receive_data(piece)
        self._flush()
        messages = self._whole(self._protocol.events_received())
        if not messages:
            self._check_end()
        return messages

    def _check_end(self) -> None:
        """Raise that nothing more will come, and why; what came before was given out."""
        fault = self._protocol.parser_exc
        if fault is not None:
            from websockets.exceptions import PayloadTooBig  # noqa: PLC0415 - as below

            if isinstance(fault, PayloadTooBig):
                raise MessageTooLargeError
            raise EOFError(str(fault))
        if self._protocol.close_expected():
            raise EOFError

    def close(self) -> None:
        """Close; what was queued still leaves."""
        from websockets.protocol import State  # noqa: PLC0415 - as below

        if self._protocol.state is State.OPEN:
            self._protocol.send_close(1000)
            self._flush()
        self._writer.close()

    def abort(self) -> None:
        """Close without a word."""
        self._writer.transport.abort()

    async def closed(self) -> None:
        """Return when nothing is left of the connection."""
        await _closed(self._writer)

    def _flush(self) -> None:
        """Write what the protocol has to say; the end of the stream is ours to choose."""
        for data in self._protocol.data_to_send():
            if data and not self._writer.is_closing():
                self._writer.write(data)

    def _whole(self, events: "list[Event]") -> list[bytes]:
        """Return the messages that ``events`` complete."""
        from websockets.frames import Frame, Opcode  # noqa: PLC0415 - as below

        messages = []
        for event in events:
            if not isinstance(event, Frame) or event.opcode not in {Opcode.TEXT, Opcode.CONT}:
                continue
            self._fragments.append(bytes(event.data))
            if event.fin:
                messages.append(b"".join(self._fragments))
                self._fragments.clear()
        return messages


def _check_response(address: Address, response: "Response") -> None:
    """Refuse an answer to the handshake that opens no WebSocket."""
    if response.status_code == _UPGRADED:
        return
    answer = Answer(response.status_code, {}, bytes(response.body or b""))
    if problem := find_problem(answer.body):
        raise CallError(problem)
    raise HallUnreachableError(
        f"{address.url} opens no WebSocket (HTTP {response.status_code})", "check the address"
    )


async def open_wire(
    address: Address,
    finder: TrustFinder,
    connect: Connect,
    *,
    message_bytes_max: int,
    timeout_s: float,
) -> Wire:
    """Open a connection to a hall that has proven who it is.

    Raises:
        CallError: The hall has no place for this connection now.
        CallTimeoutError: It did not answer in time; nothing was sent.
        HallUnreachableError: Nobody answers there; nothing was sent.
        CertificateUntrustedError: It is not the one trusted; nothing was sent.
    """
    writer: asyncio.StreamWriter | None = None
    is_open = False
    try:
        async with asyncio.timeout(timeout_s):
            trust = await finder.find(address)
            try:
                reader, writer = await connect(address, make_tls(trust))
            except ssl.SSLCertVerificationError as error:
                raise await finder.explain(address, trust, error.verify_message) from error
            if address.is_ndjson:
                is_open = True
                return NdjsonWire(reader, writer, message_bytes_max)
            wire = WebSocketWire(reader, writer, _new_protocol(address, message_bytes_max))
            await wire.open(address)
            is_open = True
            return wire
    except TimeoutError as error:
        raise CallTimeoutError(
            f"{address.url} did not open a connection within {timeout_s:.3g} s",
            "try again, or give it more time (--timeout)",
        ) from error
    except (OSError, EOFError) as error:
        raise unreachable(address, error) from error
    finally:
        if writer is not None and not is_open:
            writer.transport.abort()
            await _closed(writer)


async def _closed(writer: asyncio.StreamWriter) -> None:
    """Wait until a connection that was closed is gone; abort one that takes its time."""
    try:
        async with asyncio.timeout(_CLOSE_TIMEOUT_S):
            await writer.wait_closed()
    except TimeoutError:
        writer.transport.abort()
    except OSError:
        pass  # It broke before, which is one way of being closed.


def _new_protocol(address: Address, message_bytes_max: int) -> "ClientProtocol":
    # Heavy, and most commands open no WebSocket.
    from websockets.client import ClientProtocol  # noqa: PLC0415
    from websockets.uri import parse_uri  # noqa: PLC0415

    return ClientProtocol(
        parse_uri(f"{address.url}{SOCKET_PATH}"), max_size=message_bytes_max, logger=_silent
    )
