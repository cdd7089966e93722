"""RFC 6455 at the door itself: a table after sections 1 to 7 of the Autobahn test suite.

Each case is bytes and what the server says to them; each is sent whole and in pieces of seven
bytes, over TLS, on both loops. A case that ends without a close frame of the server's is closed
by the client, which shows that the connection is still in order.
"""

from pathlib import Path
from typing import NamedTuple

import pytest

from tests.conformance.http_wire import on_both_loops, until
from tests.conformance.websocket_wire import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Contexts,
    Said,
    close,
    frame,
    make_contexts,
    open_site,
    open_socket,
    request,
)

# The door decides, not what the rows lie on.
pytestmark = [pytest.mark.requirement("R31"), pytest.mark.sqlite]


class Case(NamedTuple):
    sent: bytes
    said: list[Said]


def failed(code: int) -> list[Said]:
    """Return what a server says that fails a connection."""
    return [("closing", "protocol_error"), ("close", code)]


def parts(text: bytes, *cuts: int) -> list[bytes]:
    """Return a message in fragments."""
    ends = [*cuts, len(text)]
    starts = [0, *cuts]
    return [
        frame(CONTINUATION if start else TEXT, text[start:end], fin=end == len(text))
        for start, end in zip(starts, ends, strict=True)
    ]


def stringy(content: bytes) -> bytes:
    """Return a request that holds a text."""
    return b'{"jsonrpc":"2.0","id":1,"method":"hall.ping","params":{"a":"' + content + b'"}}'


ANSWERED: list[Said] = [("reply", 1)]
BEGUN = parts(request(), 10)[0]
WHOLE = frame(TEXT, request())

FRAMING = {
    **{
        f"text of {size} bytes": Case(frame(TEXT, request(1, size)), ANSWERED)
        for size in (125, 126, 127, 128, 65_535, 65_536)
    },
    "binary": Case(frame(BINARY, request()), failed(1003)),
    "binary, nothing in it": Case(frame(BINARY), failed(1003)),
    "empty text": Case(frame(TEXT), [("refusal", None)]),
    "not masked": Case(b"\x81\x02{}", failed(1002)),
    "a length longer than needed": Case(b"\x81\xfe\x00\x02" + bytes(6), failed(1002)),
    "a length of 63 bits too many": Case(b"\x81\xff\x80" + bytes(11), failed(1002)),
    "a message too large": Case(b"\x81\xff" + (2**20 + 1).to_bytes(8, "big"), failed(1009)),
}
PINGS = {
    "empty": Case(frame(PING), [("pong", b"")]),
    "with text": Case(frame(PING, b"Hello"), [("pong", b"Hello")]),
    "with bytes": Case(frame(PING, b"\x00\xff\xfe\xfd"), [("pong", b"\x00\xff\xfe\xfd")]),
    "with 125 bytes": Case(frame(PING, b"\xfe" * 125), [("pong", b"\xfe" * 125)]),
    "with 126 bytes": Case(frame(PING, b"\xfe" * 126), failed(1002)),
    "unasked pong": Case(frame(PONG), []),
    "unasked pong with payload": Case(frame(PONG, b"for nothing"), []),
    "unasked pong and ping": Case(frame(PONG, b"for no") + frame(PING, b"?"), [("pong", b"?")]),
    "ten": Case(
        b"".join(frame(PING, b"%d" % number) for number in range(10)),
        [("pong", b"%d" % number) for number in range(10)],
    ),
}
RESERVED = {
    **{
        f"rsv {bits} of a text": Case(frame(TEXT, request(), rsv=bits), failed(1002))
        for bits in range(1, 8)
    },
    "of a continuation": Case(BEGUN + frame(CONTINUATION, b"x", rsv=4), failed(1002)),
    "of a ping": Case(frame(PING, rsv=7), failed(1002)),
    "of a close": Case(frame(CLOSE, b"\x03\xe8", rsv=1), failed(1002)),
    "after a ping": Case(
        frame(PING, b"?") + frame(TEXT, b"{}", rsv=5), [("pong", b"?"), *failed(1002)]
    ),
}
OPCODES = {
    **{
        f"opcode {opcode}": Case(frame(opcode, payload), failed(1002))
        for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)
        for payload in (b"", b"unknown")
    },
    "before a ping": Case(frame(3) + frame(PING, b"?"), failed(1002)),
}
FRAGMENTS = {
    "two": Case(b"".join(parts(request(), 10)), ANSWERED),
    "each byte": Case(b"".join(parts(request(), *range(1, len(request())))), ANSWERED),
    "with empty ones": Case(
        frame(TEXT, fin=False)
        + frame(CONTINUATION, fin=False)
        + frame(CONTINUATION, request(), fin=False)
        + frame(CONTINUATION),
        ANSWERED,
    ),
    "a ping between": Case(
        frame(PING, b"?").join(parts(request(), 10, 20)), [("pong", b"?")] * 2 + ANSWERED
    ),
    "a pong between": Case(frame(PONG, b"!").join(parts(request(), 10)), ANSWERED),
    "of a ping": Case(frame(PING, b"a", fin=False) + frame(CONTINUATION, b"b"), failed(1002)),
    "of a pong": Case(frame(PONG, b"a", fin=False) + frame(CONTINUATION, b"b"), failed(1002)),
    "none to continue": Case(frame(CONTINUATION, b"x"), failed(1002)),
    "none to continue, and more": Case(frame(CONTINUATION, b"x", fin=False) + WHOLE, failed(1002)),
    "a text before the end": Case(BEGUN + WHOLE, failed(1002)),
    "a binary before the end": Case(BEGUN + frame(BINARY, b"x"), failed(1002)),
    "one after the other": Case(
        b"".join(parts(request(), 10)) + b"".join(parts(request(2), 10)), [*ANSWERED, ("reply", 2)]
    ),
}
NO_UTF8 = [
    b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
    b"\xf4\x90\x80\x80",
    b"\xf8\x88\x80\x80\x80",
    b"\xc0\x80",
    b"\xe0\x80\x80",
    b"\xf0\x80\x80\x80",
    b"\xc1\xbf",
    b"\xe0\x9f\xbf",
    b"\xf0\x8f\xbf\xbf",
    b"\xed\xbf\xbf",
    b"\xed\xa0\x80\xed\xb0\x80",
    b"\x80",
    b"\xfe",
    b"\xff",
    b"\xe2\x82",
]
KOSME = "κόσμε 🏛 \U0010ffff \ufffe".encode()
UTF8 = {
    "one frame": Case(frame(TEXT, stringy(KOSME)), ANSWERED),
    "each byte a fragment": Case(
        b"".join(parts(stringy(KOSME), *range(1, len(stringy(KOSME))))), ANSWERED
    ),
    **{
        f"{text.hex()} in one frame": Case(frame(TEXT, stringy(text)), failed(1007))
        for text in NO_UTF8
    },
    **{
        f"{text.hex()} in fragments": Case(
            b"".join(parts(stringy(text), *range(1, len(stringy(text))))), failed(1007)
        )
        for text in NO_UTF8
    },
    # Fails although the message never ends.
    "fast, between fragments": Case(frame(TEXT, b'"\xff', fin=False), failed(1007)),
    "fast, within a frame": Case(frame(TEXT, b'"\xf4\x90' + b"x" * 100)[:-90], failed(1007)),
}
CLOSES = {
    "after an answer": Case(WHOLE, ANSWERED),
    "twice": Case(close() + close(), [("close", 1000)]),
    "then a ping": Case(close() + frame(PING, b"?"), [("close", 1000)]),
    "then a text": Case(close() + WHOLE, [("close", 1000)]),
    "then nonsense": Case(close() + b"\xff" * 50, [("close", 1000)]),
    "within a message": Case(BEGUN + close() + frame(CONTINUATION, b"x"), [("close", 1000)]),
    "without a code": Case(close(None), [("close", None)]),
    "half a code": Case(frame(CLOSE, b"\x03"), failed(1002)),
    "with a reason": Case(close(1000, b"Hello"), [("close", 1000)]),
    "with 123 bytes of reason": Case(close(1000, b"*" * 123), [("close", 1000)]),
    "with 124 bytes of reason": Case(close(1000, b"*" * 124), failed(1002)),
    "with a reason that is no text": Case(close(1000, NO_UTF8[0]), failed(1007)),
    "in fragments": Case(frame(CLOSE, b"\x03\xe8", fin=False), failed(1002)),
    **{
        f"code {code}": Case(close(code), [("close", code)])
        for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999)
    },
    **{
        f"code {code}": Case(close(code), failed(1002))
        for code in (0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999, 5000, 65_535)
    },
}
SECTIONS = {
    "1 framing": FRAMING,
    "2 pings": PINGS,
    "3 reserved bits": RESERVED,
    "4 opcodes": OPCODES,
    "5 fragments": FRAGMENTS,
    "6 text": UTF8,
    "7 close": CLOSES,
}


@pytest.fixture(scope="module")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> Contexts:
    folder: Path = tmp_path_factory.mktemp("tls")
    return make_contexts(folder)


@pytest.mark.parametrize("pieces", [False, True], ids=["whole", "in-pieces"])
@pytest.mark.parametrize("section", SECTIONS.values(), ids=SECTIONS.keys())
@on_both_loops
async def test_every_case_ends_as_the_standard_says(
    contexts: Contexts,
    section: dict[str, Case],
    pieces: bool,  # noqa: FBT001 - a parameter of the table
) -> None:
    async with open_site(contexts) as site:
        for name, case in section.items():
            async with open_socket(site) as socket:
                if pieces:
                    await socket.wire.send_pieces(case.sent)
                else:
                    socket.send(case.sent)
                if not case.said or case.said[-1][0] != "close":
                    said = [await socket.read_said() for _ in case.said]
                    assert sorted(said) == sorted(case.said), name
                    socket.send(close())
                    assert await socket.read_all() == [("close", 1000)], name
                else:
                    assert await socket.read_all() == case.said, name
        await until(lambda: site.http.connections == len(site.connections) == 0)
