"""Inputs for the doors: from valid calls of every action to bytes that mean nothing.

In a case ``@access:ada@`` stands for ada's access token, and so on (:mod:`tests.fuzz.house`), so
that a case can be sent again to another hall. ``@length@`` is the length of the body behind it.
"""

import hashlib
import json
import random
from collections.abc import Iterator
from typing import Any, NamedTuple

from moothall.action.declare import Action
from tests.conformance.websocket_wire import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, frame
from tests.conformance.websocket_wire import handshake as make_handshake
from tests.fuzz.mutation import mutate
from tests.fuzz.shapes import Pairs, Raw, Shapes, encode

PEOPLE = ("boss", "ada", "eve", "gast")
"""The first administrator, two members, and a guest."""

FILE = b"a file of the fuzzer" * 50
FILE_SHA256 = hashlib.sha256(FILE).hexdigest()

UNASKED = {"hall.shutdown"}
"""After these there is nobody to ask."""

DESTRUCTIVE = {
    *("identity.remove_account", "identity.remove_member", "identity.remove_guest"),
    *("identity.close_session", "identity.close_other_sessions", "identity.revoke_sessions_of"),
    *("identity.revoke_session", "identity.retire_key", "identity.rotate_keys"),
    *("identity.rename_self", "identity.change_password", "leaderboards.remove_board"),
    *("access.ban", "access.revoke_all", "access.revoke_role", "access.delete_role"),
    *("access.update_role", "identity.become_member"),
}
"""These are asked more seldom, so that somebody is left to ask for the rest."""

SECRET_FIELDS = ("password", "new_password", "secret", "code", "invitation", "token")

KNOWN: dict[str, list[Any]] = {
    "board_id": ["kart", "golf", "absent"],
    "entry_id": ["@entry@"],
    "comment_id": ["@comment@"],
    "member": ["ada", "eve", "victim", "@member:ada@", "everyone"],
    "member_ids": [["@member:ada@", "@member:eve@"], []],
    "name": ["new name", "ada", "victim", "Nina"],
    "names": [["Una", "Vera"], ["ada"]],
    "role": ["moderator", "administrator", "member", "resource_server"],
    "at": ["", "board/kart", "board/absent", "org/1"],
    "path": ["board/kart", ""],
    "permission": ["board:read", "*", "hall:manage", "member:remove"],
    "permissions": [["board:read"], ["board:read", "board:write"]],
    "sha256": [FILE_SHA256, "0" * 64],
    "ref": ["proof:1"],
    "password": ["@password@", "wrong password"],
    "new_password": ["another quite long password"],
    "token": ["@access:ada@", "@access:eve@"],
    "refresh_token": ["@refresh:eve@"],
    "session_id": ["@session:eve@"],
    "feed": ["board/kart", "board/kart/moderation", "identity/revocations", "feeds/none"],
    "cursor": ["@cursor@", "0.0"],
    "audience": ["https://scores.example"],
    "contact": ["ada@example.org", "+41791234567"],
    "schedule": ["0 0 * * *", "@daily", "* * 31 2 *"],
    "time_zone": ["Europe/Zurich", "UTC", "../../etc/passwd"],
    "team": ["core"],
    "kid": ["@kid@"],
    "value": ["plain", 1, None, [1, {"a": "b"}]],
}


class Case(NamedTuple):
    """One input.

    Attributes:
        kind: ``<door>.<sort>``: ``http.call``, ``socket.frames``, ``line.bytes`` ...
        data: What is sent. For ``socket.calls`` each line becomes a frame.
        who: Whose token it carries; nobody's where empty.
        cut_bytes: It is sent in pieces of so many bytes; 0 for whole.
    """

    kind: str
    data: bytes
    who: str = ""
    cut_bytes: int = 0


class CaseMaker:
    """Makes cases of a catalog.

    Args:
        actions: All that can be called.
        chance: Where all choices come from.
    """

    def __init__(self, actions: dict[str, Action[Any, Any]], chance: random.Random) -> None:
        self._chance = chance
        self._shapes = Shapes(chance, KNOWN)
        self._asked = [each for name, each in actions.items() if name not in UNASKED]

    def make(self) -> Case:
        """Return a case of any kind."""
        chance = self._chance
        who = chance.choice([*PEOPLE, "boss", "ada", ""])
        cut_bytes = chance.choice([0, 0, 0, 0, 1, 7, 64])
        kind = chance.choices(list(_KINDS), list(_KINDS.values()))[0]
        data = getattr(self, f"_{kind.replace('.', '_')}")(who)
        # A long text byte by byte takes long and shows nothing more.
        pieces_max = 60
        return Case(kind, data, who, cut_bytes and max(cut_bytes, len(data) // pieces_max))

    # --- calls --------------------------------------------------------------------------------

    def call(self) -> tuple[str, bytes]:
        """Return the name of an action and a body for it: good, or spoilt."""
        chance = self._chance
        while True:
            action = chance.choice(self._asked)
            if action.name not in DESTRUCTIVE or chance.random() < 0.03:
                break
        request: Any = self._shapes.request(action)
        if chance.random() < 0.5:
            request = self._shapes.spoil(request, chance.choice([1, 1, 2, 4]))
        name = action.name
        if chance.random() < 0.02:
            name = chance.choice([name.upper(), name + "x", "a.b", "..", "hall", "", "x" * 300])
        body = encode(request).encode("utf-8", "surrogatepass")
        return name, mutate(body, chance, 1) if chance.random() < 0.1 else body

    def _http(self, name: str, body: bytes, who: str, *more: str) -> bytes:
        lines = [f"POST /v1/{name} HTTP/1.1", "Host: localhost", *_signed(who), *more]
        lines += ["Content-Type: application/json", "Content-Length: @length@"]
        head = "\r\n".join(lines).encode("utf-8", "surrogatepass")
        return head + b"\r\n\r\n" + body

    def _http_call(self, who: str) -> bytes:
        chance = self._chance
        name, body = self.call()
        more = []
        if chance.random() < 0.2:
            key = chance.choice(["k1", "k2", "", "x" * 256, "a b", '"quoted"', "\u00e9"])
            more.append(f"Idempotency-Key: {key}")
        if chance.random() < 0.1:
            deadline = chance.choice(["0", "1", "1000", "-1", "1e9", "9" * 30, "\u0661"])
            more.append(f"Deadline-Ms: {deadline}")
        before = [b'{"value":"@nonce@-%d"}' % number for number in range(chance.choice([0, 0, 3]))]
        known = [self._http("echo.repeat_value", each, "") for each in before]
        return b"".join([*known, self._http(name, body, who, *more)])

    def _http_bytes(self, who: str) -> bytes:
        chance = self._chance
        data = self._http_call(who)
        match chance.randrange(6):
            case 0:
                data = b"".join(self._http_call(who) for _ in range(chance.choice([2, 5, 20])))
            case 1:
                data = self._chunked(data)
            case 2:
                head, _, body = data.partition(b"\r\n\r\n")
                data = head + b"\r\n" + chance.choice(_SMUGGLED) + b"\r\n\r\n" + body
            case 3:
                path = chance.choice(_PATHS)
                method = chance.choice(
                    ["GET", "HEAD", "OPTIONS", "DELETE", "TRACE", "get", "PRI *"]
                )
                data = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
            case _:
                pass
        return mutate(data, chance, chance.choice([0, 1, 1, 2, 8]))

    def _chunked(self, data: bytes) -> bytes:
        """Return a request whose body comes in chunks, of which some lie about their size."""
        chance = self._chance
        head, _, body = data.replace(b"Content-Length: @length@", _CHUNKED).partition(b"\r\n\r\n")
        size = chance.choice([1, 7, 100])
        parts = [body[at : at + size] for at in range(0, len(body), size)][:200]
        made = b"".join(self._chunk(each) for each in parts)
        end = chance.choice([b"0\r\n\r\n", b"0\r\nX: y\r\n\r\n", b"0\r\n", b"00000000000\r\n\r\n"])
        return head + b"\r\n\r\n" + made + end

    def _chunk(self, part: bytes) -> bytes:
        strange = ["%x ", "0x%x", "+%x", "-%x", "%x;a=b", "%x;" + "y" * 5_000, "%x" + "0" * 20]
        size = self._chance.choice(strange) if self._chance.random() < 0.03 else "%x"
        return (size % len(part)).encode() + b"\r\n" + part + b"\r\n"

    def _http_file(self, who: str) -> bytes:
        chance = self._chance
        body = chance.choice([FILE, b"", FILE[:-1], FILE + b"x", bytes(300_000), b"new" * 9])
        right = hashlib.sha256(body).hexdigest()
        sha256 = chance.choice(
            [right, right, FILE_SHA256, right.upper(), "0" * 64, "..", right[1:]]
        )
        method = chance.choice(["PUT", "PUT", "GET", "GET", "HEAD", "DELETE", "POST"])
        lines = [f"{method} /v1/files/{sha256} HTTP/1.1", "Host: localhost", *_signed(who)]
        if chance.random() < 0.5:
            lines.append("Range: " + chance.choice(_RANGES))
        if chance.random() < 0.2:
            lines.append("If-None-Match: " + chance.choice([f'"{right}"', "*", '"', "W/" * 99]))
        if method == "PUT" or chance.random() < 0.1:
            wrong = ["0", "-1", "1", "9" * 30, "99999999", "1e3"]
            length = "@length@" if chance.random() < 0.8 else chance.choice(wrong)
            lines.append(f"Content-Length: {length}")
        else:
            body = b""
        data = "\r\n".join(lines).encode() + b"\r\n\r\n" + body
        return mutate(data, chance, 1) if chance.random() < 0.1 else data

    def _http_events(self, who: str) -> bytes:
        chance = self._chance
        feed = chance.choice([*KNOWN["feed"], "board/" + "x" * 300, "%2e%2e", "board//kart", "a?b"])
        lines = [f"GET /v1/feeds/{feed} HTTP/1.1", "Host: localhost", *_signed(who)]
        if chance.random() < 0.6:
            cursor = chance.choice(["@cursor@", "1.1", ".", "a.-1", "x" * 70, "@cursor@\u0661"])
            lines.append(f"Last-Event-ID: {cursor}")
        data = "\r\n".join(lines).encode() + b"\r\n\r\n"
        return mutate(data, chance, 1) if chance.random() < 0.2 else data

    # --- messages -----------------------------------------------------------------------------

    def _messages(self) -> Iterator[bytes]:
        """Yield JSON-RPC messages; between them some whose answer is known."""
        chance = self._chance
        for number in range(chance.choice([1, 2, 4, 8])):
            name, body = self.call()
            members = Pairs(
                [("jsonrpc", "2.0"), ("id", number), ("method", name), ("params", Raw(_B))]
            )
            if chance.random() < 0.15:
                members.append(("meta", chance.choice(_METAS)))
            if chance.random() < 0.05:
                members.append(chance.choice(members))
            message = self._shapes.spoil(members, 1) if chance.random() < 0.15 else members
            text = encode(message).encode("utf-8", "surrogatepass")
            yield text.replace(_B.encode(), body.replace(b"\n", b" "))
            value = f"@nonce@-{number}"
            told = {"jsonrpc": "2.0", "id": value, "method": "echo.repeat_value"}
            yield json.dumps({**told, "params": {"value": value}}).encode()

    def _line_calls(self, who: str) -> bytes:
        return b"".join(each + b"\n" for each in [*_sign_in(who), *self._messages()])

    def _line_bytes(self, who: str) -> bytes:
        chance = self._chance
        data = mutate(self._line_calls(who), chance, chance.choice([1, 2, 8]))
        return chance.choice([data, data.replace(b"\n", b"\r\n"), data[: chance.randrange(4_000)]])

    def _socket_calls(self, who: str) -> bytes:
        return b"".join(each + b"\n" for each in self._messages())

    def _socket_frames(self, who: str) -> bytes:
        chance = self._chance
        frames = [
            frame(
                chance.choice([TEXT, TEXT, TEXT, BINARY, CONTINUATION, PING, PONG, CLOSE, 3, 11]),
                chance.choice(
                    [message, message[: chance.randrange(125)], b"\x03\xe8", b"\x03", b""]
                ),
                fin=chance.random() < 0.8,
                rsv=chance.choice([0, 0, 0, 0, 1, 4]),
            )
            for message in self._messages()
        ]
        return mutate(b"".join(frames), chance, chance.choice([0, 1, 2, 8]))

    def _socket_handshake(self, who: str) -> bytes:
        chance = self._chance
        data = make_handshake(*_signed(who), *chance.sample(_HANDSHAKES, chance.randrange(3)))
        ping = b'{"jsonrpc":"2.0","id":1,"method":"hall.ping"}'
        return mutate(data + frame(TEXT, ping), chance, chance.choice([0, 1, 2, 8]))


_B = '"@body@"'
_CHUNKED = b"Transfer-Encoding: chunked"
_KINDS = {
    "http.call": 5,
    "http.bytes": 4,
    "http.file": 2,
    "http.events": 1,
    "line.calls": 4,
    "line.bytes": 2,
    "socket.calls": 4,
    "socket.frames": 2,
    "socket.handshake": 1,
}
"""All kinds, and how often each is made beside the others."""

_METAS: list[Any] = [
    *({"idempotency_key": "k1"}, {"idempotency_key": ""}, {"idempotency_key": None}, {}, None),
    *({"deadline_ms": 0}, {"deadline_ms": -1}, {"deadline_ms": 2**70}, {"deadline_ms": 1.5}),
    *([], "", {"unknown": 1}, Raw('{"deadline_ms":1,"deadline_ms":2}'), Raw("1e309")),
]
_SMUGGLED = [
    *(b"Content-Length: 0", b"Content-Length: 5, 5", b"Content-Length:\t3", b"Content-Length: +3"),
    *(_CHUNKED, b"Transfer-Encoding: chunked, identity", b"Transfer-Encoding : chunked"),
    *(b"Transfer-Encoding:\x0bchunked", b"Transfer-Encoding: xchunked", b" folded: yes"),
    *(b"Host: other", b"Connection: close, content-length", b"Expect: 100-continue"),
    *(b"Upgrade: websocket", b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c"),
    *(b"Authorization: Bearer x", b"Authorization: Basic eDp5", b"X: " + b"y" * 17_000),
    *(b"X-Forwarded-For: 1.2.3.4", b"Origin: https://evil.example", b"Origin: null", b"A:b\nC:d"),
    *(b"Content-Encoding: gzip", b"Content-Type: text/plain", b"Content-Type: application/json;"),
    b"\r\n".join(b"H%d: v" % number for number in range(300)),
]
_PATHS = [
    *("/", "*", "/v1/", "/v1/hall.ping", "/v1/hall.ping?x=1", "//v1/hall.ping", "/openapi.json"),
    *("/v1/../v1/hall.ping", "/v1/hall.ping%00", "/%76%31/hall.ping", "http://x/v1/hall.ping"),
    *("/.well-known/jwks.json", "/healthz", "/v1/files/", "/v1/feeds/", "/v1/" + "a" * 9_000),
    *("/.well-known/moothall", "/v1/%", "/v1/hall.ping#f", "\\v1\\hall.ping", "localhost:443"),
]
_RANGES = [
    *("bytes=0-0", "bytes=-1", "bytes=5-", "bytes=5-2", "bytes=0-99999999999", "bytes=-0"),
    *("bytes=0-1,3-4", "bytes=" + "9" * 40 + "-", "items=0-1", "bytes=\u0661-2", "bytes=--1", ""),
]
_HANDSHAKES = [
    *("Sec-WebSocket-Version: 8", "Sec-WebSocket-Protocol: a, b", "Origin: https://evil.example"),
    *("Sec-WebSocket-Extensions: permessage-deflate", "Sec-WebSocket-Key: short", "Cookie: a=b"),
    *("Content-Length: 5", "Transfer-Encoding: chunked", "Authorization: Bearer x", "X: y"),
]


def _signed(who: str) -> list[str]:
    return [f"Authorization: Bearer @access:{who}@"] if who else []


def _sign_in(who: str) -> list[bytes]:
    """Return the message that signs a line in."""
    told = {"jsonrpc": "2.0", "id": "sign-in", "method": "identity.authenticate"}
    message = {**told, "params": {"token": f"@access:{who}@"}}
    return [json.dumps(message).encode()] if who else []
