"""The readers of bytes by themselves: much faster than through a door.

- ``decode``: what :func:`decode_request` takes, the standard library reads too and understands
  alike; what it refuses has something wrong that the standard library, made as strict, sees too.
- ``envelope``: the same for a JSON-RPC message, whose refusal keeps the id.
- ``frames`` and ``lines``: the same comes of bytes whole and of bytes cut at random.
- ``range`` and ``forwarded``: nothing but the documented errors, and nothing out of range.
"""

import json
import math
import random
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import msgspec

from moothall.action.catalog import Catalog
from moothall.action.declare import Action
from moothall.action.decode import DEPTH_MAX
from moothall.app.discovery import find_rooms
from moothall.core.errors import InvalidArgumentError
from moothall.transports.http.files import RangeNotSatisfiableError, read_range
from moothall.transports.jsonrpc.protocol import FrameError, read_request
from moothall.transports.ndjson.protocol import Lines
from moothall.transports.proxies import find_source, read_networks
from moothall.transports.websocket.protocol import Close, Fault, Frames
from tests.conformance.site import ECHO
from tests.conformance.websocket_wire import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, frame
from tests.fuzz.cases import CaseMaker
from tests.fuzz.mutation import cut_down, mutate
from tests.fuzz.report import Finding, Report

TARGET = "parsers"
BLOCK = 20_000
MUTATIONS = 8
"""Inputs made from one good text."""
FILE_SIZE_BYTES = 1_000
NETWORKS = read_networks(["10.0.0.0/8", "fd00::/8"])


class FoundError(Exception):
    """Two readers disagree, or one failed; the message says how."""


@cache
def actions() -> dict[str, Action[Any, Any]]:
    """Return all actions that are declared, and the echo of the tests."""
    return Catalog(find_rooms((), (ECHO,))).actions


# --- judges ---------------------------------------------------------------------------------------


def judge_decode(data: bytes) -> bool:
    """Judge the name of an action, a space, and a body."""
    name, _, body = data.partition(b" ")
    action = actions()[name.decode()]
    meant, is_good = read_strictly(body or b"{}", action.request_type)
    try:
        taken = action.decode(body)
    except InvalidArgumentError as error:
        json.dumps(error.details, ensure_ascii=False).encode()  # an answer can hold it
        if is_good:
            raise FoundError(f"refused, though it is right: {error.details}") from None
        return False
    if not is_good:
        raise FoundError("taken, though another reader refuses it")
    if not _alike(taken, meant):
        raise FoundError(f"understood otherwise: {taken!r} and {meant!r}"[:500])
    return True


def read_strictly(body: bytes, kind: Any) -> tuple[Any, bool]:
    """Return what the standard library reads, and whether there is nothing wrong with it."""
    try:
        value = json.loads(
            body.decode(), object_pairs_hook=_once, parse_constant=_refuse, parse_float=_finite
        )
        json.dumps(value, ensure_ascii=False).encode()
        # PostgreSQL keeps no text with this character, so no hall takes it.
        if _depth(value) > DEPTH_MAX or "\\u0000" in json.dumps(value).replace("\\\\", ""):
            return None, False
        return msgspec.convert(value, kind), True
    except (ValueError, RecursionError, msgspec.MsgspecError):
        return None, False


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(members := dict(pairs)) != len(pairs):
        raise ValueError
    return members


def _refuse(text: str) -> None:
    raise ValueError(text)


def _finite(text: str) -> float:
    if math.isinf(number := float(text)):
        raise ValueError(text)
    return number


def _depth(value: Any) -> int:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return 1 + max(map(_depth, value), default=0)
    return 0


def _alike(one: Any, other: Any) -> bool:
    """Compare what two readers made of one text; ``1.0`` and ``1`` are one number."""
    return bool(msgspec.to_builtins(one) == msgspec.to_builtins(other))


def judge_envelope(data: bytes) -> bool:
    """Judge a JSON-RPC message."""
    try:
        asked = read_request(data)
    except FrameError as error:
        json.dumps([error.id, error.error.details], ensure_ascii=False).encode()
        return False
    try:
        read = json.loads(data.decode())
    except (ValueError, RecursionError):
        # What stands in params is looked at when the action is known.
        return True
    if (asked.id, asked.method) != (read["id"], read["method"]):
        raise FoundError(f"understood otherwise: {asked}"[:500])
    return True


def judge_frames(data: bytes) -> bool:
    """Judge bytes that a WebSocket client may send; the first two say where they are cut."""
    chance, stream = random.Random(data[:2]), data[2:]
    whole = Frames(message_size_bytes_max=2_000, fragments_max=8)
    cut = Frames(message_size_bytes_max=2_000, fragments_max=8)
    once, pieces = whole.receive(stream), []
    for piece in _pieces(stream, chance):
        pieces += cut.receive(piece)
    if once != pieces or whole.is_over != cut.is_over:
        raise FoundError(f"whole {once}, cut {pieces}"[:500])
    is_over = bool(once) and isinstance(once[-1], Fault | Close)
    if is_over != whole.is_over:
        raise FoundError(f"is it over after {once[-1:]}?")
    return not (once and isinstance(once[-1], Fault))


def judge_lines(data: bytes) -> bool:
    """Judge bytes of lines; the first two say where they are cut."""
    chance, stream = random.Random(data[:2]), data[2:]
    whole, cut = Lines(300), Lines(300)
    once, pieces = whole.feed(stream), []
    for piece in _pieces(stream, chance):
        pieces += cut.feed(piece)
    if once != pieces or whole.is_too_long != cut.is_too_long:
        raise FoundError(f"whole {once}, cut {pieces}"[:500])
    return not whole.is_too_long


def _pieces(data: bytes, chance: random.Random) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        size = chance.choice([1, 1, 2, 3, 7, 50, 500])
        yield data[at : at + size]
        at += size


def judge_range(data: bytes) -> bool:
    """Judge what stands behind ``Range``."""
    try:
        found = read_range(data.decode("latin-1"), FILE_SIZE_BYTES)
    except RangeNotSatisfiableError:
        return False
    if found is not None and not 0 <= found[0] < found[1] <= FILE_SIZE_BYTES:
        raise FoundError(f"bytes {found} of {FILE_SIZE_BYTES}")
    return found is not None


def judge_forwarded(data: bytes) -> bool:
    """Judge what stands behind ``X-Forwarded-For``."""
    try:
        find_source("10.0.0.1", data.split(b"|"), NETWORKS)
    except InvalidArgumentError:
        return False
    return True


JUDGES: dict[str, Callable[[bytes], bool]] = {
    "decode": judge_decode,
    "envelope": judge_envelope,
    "frames": judge_frames,
    "lines": judge_lines,
    "range": judge_range,
    "forwarded": judge_forwarded,
}


# --- inputs ---------------------------------------------------------------------------------------


class InputMaker:
    """Makes inputs for the judges, several at a time from one good text."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._cases = CaseMaker(actions(), chance)

    def make(self) -> Iterator[tuple[str, bytes]]:
        """Yield the name of a judge and an input for it."""
        chance = self._chance
        sort = chance.choices(list(JUDGES), [6, 3, 2, 1, 1, 1])[0]
        if sort == "decode":
            name, body = self._cases.call()
            if name not in actions():
                name = "echo.repeat_value"
            yield sort, name.encode() + b" " + body
            for _ in range(MUTATIONS):
                spoilt = mutate(body, chance, chance.choice([1, 1, 2, 4]))
                yield sort, name.encode() + b" " + spoilt
            return
        good = getattr(self, f"_{sort}")()
        yield sort, good
        for _ in range(MUTATIONS):
            yield sort, mutate(good, chance, chance.choice([1, 1, 2, 4]))

    def _envelope(self) -> bytes:
        name, body = self._cases.call()
        return b'{"jsonrpc":"2.0","id":%d,"method":"%b","params":%b%b}' % (
            self._chance.randrange(9),
            name.encode(),
            body,
            self._chance.choice([b"", b',"meta":{"deadline_ms":5}', b',"meta":{}']),
        )

    def _frames(self) -> bytes:
        chance = self._chance
        texts = [b"", b"abc", "\u00e9\u20ac\U0001f600".encode(), b"x" * 126, b"\xff", b"\x03\xe8ok"]
        opcodes = [TEXT, TEXT, CONTINUATION, PING, PONG, CLOSE, BINARY]
        made = b"".join(
            frame(chance.choice(opcodes), chance.choice(texts), fin=chance.random() < 0.7)
            for _ in range(chance.randrange(1, 6))
        )
        return chance.randbytes(2) + made

    def _lines(self) -> bytes:
        chance = self._chance
        parts = [b"", b"{}", b"x" * 299, b"x" * 300, b"x" * 301, b"\r", b"\n", b"\r\n", b"\n\r"]
        return chance.randbytes(2) + b"".join(chance.choices(parts, k=chance.randrange(1, 12)))

    def _range(self) -> bytes:
        chance = self._chance
        ends = ["", "0", "1", "999", "1000", "1001", "99999999999999999999", "-1", " 3", "007"]
        return f"bytes={chance.choice(ends)}-{chance.choice(ends)}".encode()

    def _forwarded(self) -> bytes:
        addresses = [
            *(b"192.0.2.1", b"10.0.0.9", b"::1", b"fd00::1", b"::ffff:10.0.0.1", b"fe80::1%eth0"),
            *(
                b"192.0.2.1:80",
                b"[::1]",
                b"unknown",
                b"",
                b"010.0.0.1",
                b"1.2.3",
                b"\xd9\xa1.1.1.1",
            ),
        ]
        chosen = self._chance.choices(addresses, k=self._chance.choice([1, 2, 5, 40]))
        return self._chance.choice([b", ", b",", b"|"]).join(chosen)


def run(sort: str, data: bytes) -> bool:
    """Judge one input.

    Raises:
        FoundError: Something is wrong.
    """
    try:
        return JUDGES[sort](data)
    except FoundError:
        raise
    except Exception as error:
        raise FoundError(f"{type(error).__name__}: {str(error)[:200]}") from error


async def run_block(seed: int, block: int, count: int = BLOCK) -> Report:
    """Judge ``count`` inputs, or a few more."""
    report = Report()
    maker = InputMaker(random.Random(f"parsers/{seed}/{block}"))
    made = 0
    while made < count:
        for sort, data in maker.make():
            made += 1
            try:
                taken = run(sort, data)
                report.counts[f"{sort} {'taken' if taken else 'refused'}"] += 1
            except FoundError as error:
                what = str(error).partition(":")[0]
                report.find(Finding(TARGET, sort, what, data, str(error)))
    return report


async def replay(finding: Finding) -> list[str]:
    """Judge an input once more; return what is wrong in a word each."""
    try:
        run(finding.kind, finding.data)
    except FoundError as error:
        return [str(error).partition(":")[0]]
    return []


async def cut(finding: Finding) -> Finding:
    """Return a finding with the smallest input that still does it."""

    async def still(data: bytes) -> bool:
        return finding.what in await replay(finding._replace(data=data))

    return finding._replace(data=await cut_down(finding.data, still))
