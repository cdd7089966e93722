"""What the bytes of a WebSocket mean: RFC 6455, section 5, seen from the server. Pure, no await.

Bytes go in as they come, in pieces of any size; whole messages, control frames and at most
one fault come out. A payload is unmasked and checked for UTF-8 as it arrives, so nothing is
held twice and what is wrong is noticed at the byte that is wrong.

Whoever edits this file: :meth:`Frames.receive` has a fast way for a whole small frame, which is
nearly every frame, and a general way for all. The tests hold that both find the same.
"""

import codecs
from enum import IntEnum
from typing import NamedTuple

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
"""Opcodes (section 5.2)."""

MESSAGE_SIZE_BYTES_MAX = 1_048_576
FRAGMENTS_MAX = 4_096
CONTROL_SIZE_BYTES_MAX = 125
HEAD_SIZE_BYTES_MAX = 14

_FIN, _RESERVED, _OPCODE, _MASKED, _LENGTH = 0x80, 0x70, 0x0F, 0x80, 0x7F
_LENGTH_16, _LENGTH_64 = 126, 127
_FIN_TEXT = _FIN | TEXT
_MASKED_16 = _MASKED | _LENGTH_16
_KEY_BYTES = 4
_KNOWN = frozenset({CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG})
_SMALL_BYTES_MAX, _MIDDLE_BYTES_MAX = 125, 65_535
_CODES_STANDARD = frozenset({1000, 1001, 1002, 1003, *range(1007, 1015)})
"""Codes that may stand in a close frame (section 7.4 and its registry)."""
_CODES_FREE = range(3000, 5000)

_from_bytes = int.from_bytes
_new_decoder = codecs.getincrementaldecoder("utf-8")


class CloseCode(IntEnum):
    """Codes that this server sends (section 7.4.1 and its registry)."""

    NORMAL = 1000
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    INVALID_TEXT = 1007
    POLICY_VIOLATION = 1008
    MESSAGE_TOO_BIG = 1009
    SERVICE_RESTART = 1012
    TRY_AGAIN_LATER = 1013


class Ping(NamedTuple):
    """A ping; its payload goes back in a pong."""

    payload: bytes


class Pong(NamedTuple):
    """A pong, asked for or not."""

    payload: bytes


class Close(NamedTuple):
    """The client's word that it sends no more; ``code`` is None where it gave none."""

    code: int | None
    reason: str


class Fault(NamedTuple):
    """Why the connection fails (section 7.1.7): the code and the reason of our close frame."""

    code: CloseCode
    reason: str


Item = bytes | Ping | Pong | Close | Fault
"""What came: the payload of a whole text message, or one of the others."""


class _FaultError(Exception):
    """Ends the reading from wherever the fault was found."""

    def __init__(self, code: CloseCode, reason: str) -> None:
        super().__init__(reason)
        self.fault = Fault(code, reason)


class Frames:
    """Reads what one client sends.

    Args:
        message_size_bytes_max: Payload of one message, over all its fragments.
        fragments_max: Frames of one message.

    Attributes:
        is_over: True after a close frame or a fault; what comes then means nothing.
    """

    __slots__ = (
        "_decoder",
        "_fragments",
        "_fragments_max",
        "_head",
        "_is_final",
        "_key",
        "_left_bytes",
        "_message",
        "_message_size_bytes_max",
        "_opcode",
        "_payload",
        "is_over",
    )

    def __init__(
        self,
        *,
        message_size_bytes_max: int = MESSAGE_SIZE_BYTES_MAX,
        fragments_max: int = FRAGMENTS_MAX,
    ) -> None:
        self._message_size_bytes_max = message_size_bytes_max
        self._fragments_max = fragments_max
        # The start of a frame, until its head is whole.
        self._head = b""
        # The frame whose payload is being read; no key, no frame.
        self._key = b""
        self._opcode = CONTINUATION
        self._is_final = False
        self._left_bytes = 0
        self._payload = bytearray()
        # The message whose fragments are being read.
        self._message: bytearray | None = None
        self._fragments = 0
        self._decoder: codecs.IncrementalDecoder | None = None
        self.is_over = False

    @property
    def is_partial(self) -> bool:
        """Whether a frame or a message has begun and is not whole."""
        return bool(self._head or self._key or self._message is not None)

    def receive(self, data: bytes) -> list[Item]:
        """Take the next piece and return what is whole now, in order.

        A fault is the last item ever; what was whole before it is returned with it.
        """
        items: list[Item] = []
        at = 0 if self.is_over or self.is_partial else self._read_small(data, items)
        if at == len(data):
            return items
        try:
            self._read(data, at, items)
        except _FaultError as error:
            self._end()
            items.append(error.fault)
        return items

    def _read_small(self, data: bytes, items: list[Item]) -> int:
        """Read the whole text messages in one small frame each that a piece begins with.

        Returns:
            Where they end. What follows is something else, or cut, or wrong.
        """
        at, size = 0, len(data)
        while size - at >= 6 and data[at] == _FIN_TEXT:  # noqa: PLR2004 - the least head
            length = data[at + 1]
            start = at + 6
            if length == _MASKED_16 and size - at >= 8:  # noqa: PLR2004 - the next head
                length, start = data[at + 2] << 8 | data[at + 3], at + 8
                if length <= _SMALL_BYTES_MAX:
                    break
            else:
                length -= _MASKED
                if not 0 <= length <= _SMALL_BYTES_MAX:
                    break
            end = start + length
            if end > size or length > self._message_size_bytes_max:
                break
            payload = _unmask(data[start:end], data[start - 4 : start])
            if not payload.isascii() and not _is_text(payload):
                break
            items.append(payload)
            at = end
        return at

    def _read(self, data: bytes, at: int, items: list[Item]) -> None:
        """Go through a piece from ``at`` on, head by head and payload by payload."""
        size = len(data)
        while not self.is_over:
            if not self._key:
                head = self._head + data[at : at + HEAD_SIZE_BYTES_MAX - len(self._head)]
                head_bytes = self._read_head(head)
                if head_bytes == 0:
                    self._head = head
                    return
                at += head_bytes - len(self._head)
                self._head = b""
            take = min(self._left_bytes, size - at)
            if take:
                self._read_payload(data[at : at + take])
                at += take
            if self._left_bytes:
                return
            self._key = b""
            item = self._complete_frame()
            if item is not None:
                items.append(item)
            if at == size:
                return

    def _read_head(self, head: bytes) -> int:
        """Begin the frame of a head and return the size of the head; 0 where it is not whole.

        Raises:
            _FaultError: No such frame may come, or not now.
        """
        if head:
            self._check_first(head[0])
        if len(head) < 2:  # noqa: PLR2004 - flags and length
            return 0
        if not head[1] & _MASKED:
            # Section 5.1.
            raise _FaultError(CloseCode.PROTOCOL_ERROR, "a client masks its frames")
        length = head[1] & _LENGTH
        is_control = bool(head[0] & CLOSE)
        if is_control and length > CONTROL_SIZE_BYTES_MAX:
            raise _FaultError(CloseCode.PROTOCOL_ERROR, "a control frame has at most 125 bytes")
        more = {_LENGTH_16: 2, _LENGTH_64: 8}.get(length, 0)
        if len(head) < 2 + more:
            return 0
        if more:
            least = _SMALL_BYTES_MAX if length == _LENGTH_16 else _MIDDLE_BYTES_MAX
            length = _from_bytes(head[2 : 2 + more], "big")
            if length <= least or length >> 63:
                raise _FaultError(CloseCode.PROTOCOL_ERROR, "a length is written as short as it is")
        if not is_control:
            self._check_size(length)
        size = 2 + more + _KEY_BYTES
        if len(head) < size:
            return 0
        self._begin_frame(head[0], length, head[size - _KEY_BYTES : size])
        return size

    def _check_first(self, first: int) -> None:
        """Refuse a frame by its flags and opcode alone (sections 5.2, 5.4 and 5.5)."""
        opcode = first & _OPCODE
        if first & _RESERVED:
            raise _FaultError(CloseCode.PROTOCOL_ERROR, "no extension was agreed")
        if opcode not in _KNOWN:
            raise _FaultError(CloseCode.PROTOCOL_ERROR, "there is no such kind of frame")
        if opcode & CLOSE:
            if not first & _FIN:
                raise _FaultError(CloseCode.PROTOCOL_ERROR, "a control frame has no fragments")
        elif opcode == CONTINUATION and self._message is None:
            raise _FaultError(CloseCode.PROTOCOL_ERROR, "there is no message to continue")
        elif opcode != CONTINUATION and self._message is not None:
            raise _FaultError(CloseCode.PROTOCOL_ERROR, "the message before was not complete")
        elif opcode == BINARY:
            raise _FaultError(CloseCode.UNSUPPORTED_DATA, "messages are text")

    def _check_size(self, length: int) -> None:
        """Refuse a frame that makes its message too large, before its payload is read."""
        before = 0 if self._message is None else len(self._message)
        if before + length > self._message_size_bytes_max:
            reason = f"a message has at most {self._message_size_bytes_max} bytes"
            raise _FaultError(CloseCode.MESSAGE_TOO_BIG, reason)
        if self._message is not None and self._fragments >= self._fragments_max:
            reason = f"a message has at most {self._fragments_max} fragments"
            raise _FaultError(CloseCode.MESSAGE_TOO_BIG, reason)

    def _begin_frame(self, first: int, length: int, key: bytes) -> None:
        self._opcode = first & _OPCODE
        self._is_final = bool(first & _FIN)
        self._left_bytes = length
        self._key = key
        if self._opcode & CLOSE:
            self._payload = bytearray()
            return
        if self._message is None:
            self._message = bytearray()
            self._fragments = 0
            self._decoder = None
        self._fragments += 1

    def _read_payload(self, masked: bytes) -> None:
        """Unmask a piece of a payload where it belongs, and check that it is text."""
        piece = _unmask(masked, self._key)
        self._left_bytes -= len(piece)
        # The key goes on where this piece ended.
        turn = len(piece) % _KEY_BYTES
        self._key = self._key[turn:] + self._key[:turn]
        if self._opcode & CLOSE:
            self._payload += piece
            return
        assert self._message is not None
        self._message += piece
        if self._decoder is None:
            if piece.isascii():
                return
            self._decoder = _new_decoder()
        self._decode(piece)

    def _decode(self, piece: bytes, *, is_last: bool = False) -> None:
        """Check that text goes on as UTF-8 (section 8.1)."""
        assert self._decoder is not None
        try:
            self._decoder.decode(piece, is_last)
        except UnicodeDecodeError:
            raise _FaultError(CloseCode.INVALID_TEXT, "text is UTF-8") from None

    def _complete_frame(self) -> Item | None:
        """Return what the frame that was just read completes, if anything."""
        if self._opcode == CLOSE:
            close = _read_close(bytes(self._payload))
            self._end()
            return close
        if self._opcode == PING:
            return Ping(bytes(self._payload))
        if self._opcode == PONG:
            return Pong(bytes(self._payload))
        if not self._is_final:
            return None
        if self._decoder is not None:
            self._decode(b"", is_last=True)
        assert self._message is not None
        message = bytes(self._message)
        self._message = self._decoder = None
        return message

    def _end(self) -> None:
        """Let go of what was begun: nothing follows."""
        self.is_over = True
        self._head = self._key = b""
        self._message = self._decoder = None
        self._payload = bytearray()


def _unmask(data: bytes, key: bytes) -> bytes:
    """Undo the mask (section 5.3): one XOR of two large numbers is the fastest that there is."""
    size = len(data)
    mask = (key * ((size + 3) >> 2))[:size]
    return (_from_bytes(data, "little") ^ _from_bytes(mask, "little")).to_bytes(size, "little")


def _is_text(payload: bytes) -> bool:
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True


def _read_close(payload: bytes) -> Close:
    """Return what a close frame says (section 5.5.1).

    Raises:
        _FaultError: Half a code, a code that never travels, or a reason that is not text.
    """
    if not payload:
        return Close(None, "")
    code = _from_bytes(payload[:2], "big")
    if len(payload) == 1 or not (code in _CODES_STANDARD or code in _CODES_FREE):
        raise _FaultError(CloseCode.PROTOCOL_ERROR, "this code may not stand in a close frame")
    try:
        return Close(code, payload[2:].decode())
    except UnicodeDecodeError:
        raise _FaultError(CloseCode.INVALID_TEXT, "a reason is UTF-8") from None


def render_frame(opcode: int, payload: bytes) -> bytes:
    """Return an unfragmented frame; a server does not mask (section 5.1)."""
    size = len(payload)
    if size <= _SMALL_BYTES_MAX:
        return bytes((_FIN | opcode, size)) + payload
    if size <= _MIDDLE_BYTES_MAX:
        return bytes((_FIN | opcode, _LENGTH_16)) + size.to_bytes(2, "big") + payload
    return bytes((_FIN | opcode, _LENGTH_64)) + size.to_bytes(8, "big") + payload


def render_close(code: int | None, reason: str = "") -> bytes:
    """Return a close frame; a reason that is too long for it is cut, between characters."""
    if code is None:
        return render_frame(CLOSE, b"")
    text = reason.encode()[: CONTROL_SIZE_BYTES_MAX - 2].decode(errors="ignore").encode()
    return render_frame(CLOSE, code.to_bytes(2, "big") + text)
