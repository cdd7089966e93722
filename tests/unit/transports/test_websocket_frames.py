"""What a client may send on a WebSocket and what not (RFC 6455), without a socket."""

import struct
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame as TheirFrame
from websockets.frames import Opcode
from websockets.protocol import CLIENT, OPEN, Protocol

from moothall.transports.websocket.protocol import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Close,
    CloseCode,
    Fault,
    Frames,
    Item,
    Ping,
    Pong,
    render_close,
    render_frame,
)

pytestmark = pytest.mark.requirement("R31")

KEY = b"\x37\xfa\x21\x3d"


def masked(opcode: int, payload: bytes = b"", *, fin: bool = True, key: bytes = KEY) -> bytes:
    """Return a client's frame, masked byte by byte as section 5.3 says it."""
    size = len(payload)
    first = bytes([(0x80 if fin else 0) | opcode])
    if size < 126:
        length = bytes([0x80 | size])
    elif size < 65_536:
        length = b"\xfe" + struct.pack("!H", size)
    else:
        length = b"\xff" + struct.pack("!Q", size)
    return first + length + key + bytes(byte ^ key[at % 4] for at, byte in enumerate(payload))


def receive(frames: Frames, data: bytes, size_bytes: int = 1_000_000) -> list[Item]:
    items: list[Item] = []
    for start in range(0, len(data), size_bytes):
        items += frames.receive(data[start : start + size_bytes])
    return items


def fault_of(data: bytes, **bounds: int) -> CloseCode:
    """Return the code of the only fault, which is the same however the bytes are cut."""
    found = set()
    for size_bytes in (len(data), 7, 1):
        items = receive(Frames(**bounds), data, size_bytes)
        assert isinstance(items[-1], Fault), items
        found.add(items[-1].code)
    (code,) = found
    return code


# --- what is well formed --------------------------------------------------------------------------


def test_the_examples_of_the_standard_are_read() -> None:
    # Section 5.7; the unmasked ones are what a server sends.
    hello = bytes.fromhex("818537fa213d7f9f4d5158")
    assert Frames().receive(hello) == [b"Hello"]
    assert Frames().receive(bytes.fromhex("898537fa213d7f9f4d5158")) == [Ping(b"Hello")]
    assert render_frame(TEXT, b"Hello") == bytes.fromhex("810548656c6c6f")
    assert render_frame(PONG, b"Hello") == bytes.fromhex("8a0548656c6c6f")
    assert render_frame(BINARY, bytes(256))[:4] == bytes.fromhex("827e0100")
    assert render_frame(BINARY, bytes(65_536))[:10] == bytes.fromhex("827f0000000000010000")


@pytest.mark.parametrize("size_bytes", [0, 1, 125, 126, 127, 128, 65_535, 65_536, 1_048_576])
def test_every_way_to_write_a_length_is_read(size_bytes: int) -> None:
    payload = b"x" * size_bytes
    for piece in (2_000_000, 1_000, 997) if size_bytes > 1_000 else (2_000_000, 7, 1):
        assert receive(Frames(), masked(TEXT, payload), piece) == [payload]


def test_control_frames_come_between_fragments() -> None:
    data = (
        masked(TEXT, b"one, ", fin=False)
        + masked(PING, b"are you there?")
        + masked(CONTINUATION, b"two, ", fin=False)
        + masked(PONG)
        + masked(CONTINUATION, b"three")
        + masked(TEXT, b"four")
    )
    for size_bytes in (len(data), 7, 1):
        frames = Frames()
        assert receive(frames, data, size_bytes) == [
            Ping(b"are you there?"),
            Pong(b""),
            b"one, two, three",
            b"four",
        ]
        assert not frames.is_partial


def test_a_message_may_have_empty_fragments() -> None:
    data = masked(TEXT, fin=False) + masked(CONTINUATION, b"x", fin=False) + masked(CONTINUATION)
    assert receive(Frames(), data, 1) == [b"x"]
    data = masked(TEXT, fin=False) + masked(CONTINUATION)
    assert receive(Frames(), data) == [b""]


def test_what_has_begun_is_partial_until_it_is_whole() -> None:
    frames = Frames()
    assert not frames.is_partial
    for byte in masked(TEXT, b"ab", fin=False) + masked(CONTINUATION, b"cd")[:-1]:
        assert frames.receive(bytes([byte])) == []
        assert frames.is_partial
    assert frames.receive(masked(CONTINUATION, b"cd")[-1:]) == [b"abcd"]
    assert not frames.is_partial


# --- what is not ----------------------------------------------------------------------------------

FIRST = masked(TEXT, b"begun", fin=False)
UNFRAMED = {
    "not masked": render_frame(TEXT, b"Hello"),
    "not masked, empty": b"\x81\x00",
    "not masked ping": render_frame(PING, b""),
    "RSV1": masked(TEXT | 0x40, b"x"),
    "RSV2": masked(TEXT | 0x20, b"x"),
    "RSV3": masked(TEXT | 0x10, b"x"),
    "all reserved bits": masked(TEXT | 0x70, b"x"),
    "RSV of a ping": masked(PING | 0x10),
    "RSV of a close": masked(CLOSE | 0x40),
    "RSV of a continuation": FIRST + masked(CONTINUATION | 0x40, b"x"),
    **{f"opcode {opcode:#x}": masked(opcode, b"x") for opcode in (3, 4, 5, 6, 7)},
    **{f"opcode {opcode:#x}": masked(opcode) for opcode in (0xB, 0xC, 0xD, 0xE, 0xF)},
    "ping of 126 bytes": masked(PING, bytes(126)),
    "pong of 65,536 bytes": masked(PONG, bytes(65_536)),
    "close of 126 bytes": masked(CLOSE, b"\x03\xe8" + b"x" * 124),
    "ping in fragments": masked(PING, b"x", fin=False),
    "close in fragments": masked(CLOSE, b"\x03\xe8", fin=False),
    "nothing to continue": masked(CONTINUATION, b"x"),
    "nothing to continue, in fragments": masked(CONTINUATION, b"x", fin=False),
    "nothing to continue any more": FIRST + masked(CONTINUATION) + masked(CONTINUATION),
    "text within a message": FIRST + masked(TEXT, b"x"),
    "binary within a message": FIRST + masked(BINARY, b"x"),
    "16 bits for 125": b"\x81\xfe\x00\x7d" + KEY,
    "16 bits for nothing": b"\x81\xfe\x00\x00" + KEY,
    "64 bits for 65,535": b"\x81\xff" + (65_535).to_bytes(8, "big") + KEY,
    "64 bits for 5": b"\x81\xff" + (5).to_bytes(8, "big") + KEY,
    "top bit of 64": b"\x81\xff\x80" + bytes(7) + KEY,
    "close with half a code": masked(CLOSE, b"\x03"),
}


@pytest.mark.parametrize("data", UNFRAMED.values(), ids=UNFRAMED.keys())
def test_what_breaks_the_framing_fails_with_1002(data: bytes) -> None:
    assert fault_of(data) == CloseCode.PROTOCOL_ERROR


def test_binary_messages_are_refused_with_1003() -> None:
    assert fault_of(masked(BINARY, b"{}")) == CloseCode.UNSUPPORTED_DATA
    assert fault_of(masked(BINARY, b"{}", fin=False)) == CloseCode.UNSUPPORTED_DATA


def test_what_was_whole_before_a_fault_is_returned_and_nothing_after() -> None:
    frames = Frames()
    good, bad = masked(TEXT, b"good"), masked(3)
    items = frames.receive(good + masked(PING) + bad + good)
    assert items[:-1] == [b"good", Ping(b"")]
    assert isinstance(items[-1], Fault)
    assert frames.is_over
    assert frames.receive(good) == []
    assert not frames.is_partial


# --- text -----------------------------------------------------------------------------------------

# Autobahn's 6.3 to 6.22: surrogates, overlong forms, beyond Unicode, cut short, stray bytes.
NO_TEXT = [
    b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
    b"\xf4\x90\x80\x80",
    b"\xf8\x88\x80\x80\x80",
    b"\xfc\x84\x80\x80\x80\x80",
    b"\xc0\x80",
    b"\xe0\x80\x80",
    b"\xf0\x80\x80\x80",
    b"\xc1\xbf",
    b"\xe0\x9f\xbf",
    b"\xf0\x8f\xbf\xbf",
    b"\xed\xbf\xbf",
    b"\xed\xaf\xbf\xed\xbf\xbf",
    b"\x80",
    b"\xbf\x80",
    b"\xfe",
    b"\xff",
    b"\xc3",
    b"\xe2\x82",
    b"\xf0\x9f\x98",
    b"\xc3(",
    b"\xe2\x82\x28",
]


@pytest.mark.parametrize("text", NO_TEXT, ids=[text.hex() for text in NO_TEXT])
def test_what_is_no_utf8_fails_with_1007(text: bytes) -> None:
    assert fault_of(masked(TEXT, b"a" + text)) == CloseCode.INVALID_TEXT
    # Each byte in a fragment of its own.
    parts = [masked(TEXT, text[:1], fin=False)]
    parts += [masked(CONTINUATION, text[at : at + 1], fin=False) for at in range(1, len(text))]
    assert fault_of(b"".join(parts) + masked(CONTINUATION)) == CloseCode.INVALID_TEXT
    assert fault_of(masked(CLOSE, b"\x03\xe8" + text)) == CloseCode.INVALID_TEXT


def test_a_character_may_be_cut_by_fragments() -> None:
    text = "κόσμε 🏛 \U0010ffff".encode()
    parts = [masked(TEXT, fin=False)]
    parts += [masked(CONTINUATION, text[at : at + 1], fin=False) for at in range(len(text))]
    assert Frames().receive(b"".join(parts) + masked(CONTINUATION)) == [text]


def test_wrong_text_is_noticed_at_the_byte_that_is_wrong() -> None:
    # Autobahn's 6.4.3: the message is not whole, its frame is not either.
    frames = Frames()
    data = masked(TEXT, "κόσμε".encode() + b"\xf4\x90" + b"and so on")
    wrong_at = 6 + len("κόσμε".encode()) + 1
    assert receive(frames, data[:wrong_at], 1) == []
    (fault,) = frames.receive(data[wrong_at : wrong_at + 1])
    assert isinstance(fault, Fault)
    assert fault.code == CloseCode.INVALID_TEXT


# --- bounds ---------------------------------------------------------------------------------------


def test_a_message_has_its_size_over_all_fragments_and_not_a_byte_more() -> None:
    bounds = {"message_size_bytes_max": 10}
    assert Frames(**bounds).receive(masked(TEXT, b"x" * 10)) == [b"x" * 10]
    halves = masked(TEXT, b"x" * 5, fin=False) + masked(CONTINUATION, b"x" * 5)
    assert Frames(**bounds).receive(halves) == [b"x" * 10]
    assert fault_of(masked(TEXT, b"x" * 11), **bounds) == CloseCode.MESSAGE_TOO_BIG
    more = masked(TEXT, b"x" * 5, fin=False) + masked(CONTINUATION, b"x" * 6)
    assert fault_of(more, **bounds) == CloseCode.MESSAGE_TOO_BIG


def test_a_message_that_is_too_large_fails_before_it_is_sent() -> None:
    assert fault_of(masked(TEXT, b"x" * 1_048_577)[:10]) == CloseCode.MESSAGE_TOO_BIG
    huge = b"\x81\xff\x7f" + b"\xff" * 7
    assert fault_of(huge) == CloseCode.MESSAGE_TOO_BIG
    # A control frame between does not count, and is read whatever the message has left.
    frames = Frames(message_size_bytes_max=10)
    frames.receive(masked(TEXT, b"x" * 10, fin=False))
    assert frames.receive(masked(PING, b"y" * 100)) == [Ping(b"y" * 100)]


def test_a_message_has_so_many_fragments_and_not_one_more() -> None:
    def fragments(count: int) -> bytes:
        middle = masked(CONTINUATION, fin=False) * (count - 2)
        return masked(TEXT, fin=False) + middle + masked(CONTINUATION)

    # The next message begins to count anew.
    assert Frames(fragments_max=4).receive(fragments(4) * 2) == [b"", b""]
    assert fault_of(fragments(5), fragments_max=4) == CloseCode.MESSAGE_TOO_BIG


# --- close ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [*range(1000, 1004), *range(1007, 1015), 3000, 3999, 4000, 4999])
def test_close_codes_that_travel(code: int) -> None:
    data = masked(CLOSE, code.to_bytes(2, "big") + "Lebt wohl, Ü".encode())
    for size_bytes in (len(data), 1):
        assert receive(Frames(), data, size_bytes) == [Close(code, "Lebt wohl, Ü")]


@pytest.mark.parametrize(
    "code", [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535]
)
def test_close_codes_that_do_not(code: int) -> None:
    assert fault_of(masked(CLOSE, code.to_bytes(2, "big"))) == CloseCode.PROTOCOL_ERROR


def test_a_close_needs_neither_code_nor_reason_and_nothing_follows_it() -> None:
    frames = Frames()
    data = masked(TEXT, b"begun", fin=False) + masked(CLOSE) + masked(TEXT, b"late") + masked(3)
    assert frames.receive(data) == [Close(None, "")]
    assert frames.is_over
    assert frames.receive(masked(TEXT, b"later")) == []
    assert receive(Frames(), masked(CLOSE, b"\x03\xe8" + b"x" * 123)) == [Close(1000, "x" * 123)]


def test_our_reason_is_cut_between_characters() -> None:
    frame = render_close(1008, "ü" * 100)
    assert len(frame) <= 2 + 125
    assert frame[4:].decode() == "ü" * 61
    assert render_close(None) == b"\x88\x00"


# --- anything -------------------------------------------------------------------------------------

keys = st.binary(min_size=4, max_size=4)
texts = st.text(max_size=300).map(str.encode)
controls = st.tuples(st.sampled_from([PING, PONG]), st.binary(max_size=125))


@st.composite
def conversations(draw: st.DrawFn) -> tuple[bytes, list[Item]]:
    """Make messages in fragments with control frames between, and what is to be read of them."""
    data, items = b"", list[Item]()
    for text in draw(st.lists(texts, max_size=4)):
        cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=4)))
        parts = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
        for number, part in enumerate(parts):
            for opcode, payload in draw(st.lists(controls, max_size=2)):
                data += masked(opcode, payload, key=draw(keys))
                items.append(Ping(payload) if opcode == PING else Pong(payload))
            opcode = CONTINUATION if number else TEXT
            data += masked(opcode, part, fin=number == len(cuts), key=draw(keys))
        items.append(text)
    return data, items


def cut(data: bytes, sizes: Sequence[int]) -> list[bytes]:
    pieces, at = [], 0
    for size_bytes in sizes:
        pieces.append(data[at : at + size_bytes])
        at += size_bytes
    return [*pieces, data[at:]]


@given(conversations(), st.lists(st.integers(0, 40), max_size=60))
def test_any_fragments_in_any_pieces_give_the_same_messages(
    conversation: tuple[bytes, list[Item]], sizes: list[int]
) -> None:
    data, items = conversation
    frames = Frames()
    found = [item for piece in cut(data, sizes) for item in frames.receive(piece)]
    assert found == items
    assert not frames.is_partial
    assert not frames.is_over


@given(st.binary(max_size=200), st.lists(st.integers(0, 20), max_size=40))
def test_any_bytes_are_judged_alike_in_any_pieces(data: bytes, sizes: list[int]) -> None:
    whole, pieces = Frames(), Frames()
    found = whole.receive(data)
    assert [item for piece in cut(data, sizes) for item in pieces.receive(piece)] == found
    assert whole.is_over == pieces.is_over
    assert whole.is_partial == pieces.is_partial


@given(st.binary(max_size=300), st.booleans(), keys)
def test_any_payload_is_text_exactly_if_python_says_so(
    payload: bytes,
    is_cut: bool,  # noqa: FBT001 - drawn, not passed by people
    key: bytes,
) -> None:
    data = masked(TEXT, payload, key=key)
    items = receive(Frames(), data, 5 if is_cut else len(data))
    try:
        payload.decode()
    except UnicodeDecodeError:
        assert [type(item) for item in items] == [Fault]
    else:
        assert items == [payload]


# --- the `websockets` library, which is not ours --------------------------------------------------

theirs = st.one_of(
    st.tuples(st.just(Opcode.TEXT), st.text(max_size=70_000 // 4).map(str.encode)),
    st.tuples(st.sampled_from([Opcode.PING, Opcode.PONG]), st.binary(max_size=125)),
)


@given(st.lists(theirs, max_size=5), st.sampled_from([None, 1000, 4321]))
def test_we_understand_another_implementation(
    sent: list[tuple[Opcode, bytes]], code: int | None
) -> None:
    client = Protocol(CLIENT, state=OPEN)
    for opcode, payload in sent:
        {
            Opcode.TEXT: client.send_text,
            Opcode.PING: client.send_ping,
            Opcode.PONG: client.send_pong,
        }[opcode](payload)
    client.send_close(code, "" if code is None else "bye")
    frames = Frames()
    kinds: dict[Opcode, type[Ping | Pong]] = {Opcode.PING: Ping, Opcode.PONG: Pong}
    expected: list[Item] = [
        kinds[opcode](payload) if opcode in kinds else payload for opcode, payload in sent
    ]
    found = frames.receive(b"".join(client.data_to_send()))
    assert found == [*expected, Close(code, "" if code is None else "bye")]


@given(st.lists(theirs, max_size=5), st.sampled_from([None, *CloseCode]), st.text(max_size=200))
def test_another_implementation_understands_us(
    sent: list[tuple[Opcode, bytes]], code: int | None, reason: str
) -> None:
    client = Protocol(CLIENT, state=OPEN)
    for opcode, payload in sent:
        client.receive_data(render_frame(opcode, payload))
    client.receive_data(render_close(code, reason))
    *frames, close = client.events_received()
    assert [
        (frame.opcode, bytes(frame.data)) for frame in frames if isinstance(frame, TheirFrame)
    ] == sent
    assert isinstance(close, TheirFrame)
    assert close.opcode == Opcode.CLOSE
    # It answers in kind only where it found nothing wrong.
    assert client.close_rcvd is not None
    assert client.close_rcvd.code == (code or 1005)
