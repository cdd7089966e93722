"""Cases to the doors of a hall, and what must be true whatever is sent.

- Every case comes to an answer or a close within :data:`ANSWER_S`; who ends the sending is closed.
- No answer says ``internal``, no status is 500, and nothing is logged as an error.
- Replies are not mixed up: an answer of ``echo.repeat_value`` holds the word of its own request,
  under its own id, and those of one connection without ids come in order.
- What nobody sent a secret for holds none; the log holds no secret at all.
- A member on another connection is answered all the while, within :data:`PING_S`.
- Nothing is carried out that was refused: the audit trail has no more rows ``done`` than there
  were answers that say so.
"""

import asyncio
import random
import re
import struct
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from moothall.action.declare import Effect
from tests.conformance.websocket_wire import TEXT, frame
from tests.conformance.websocket_wire import handshake as make_handshake
from tests.fuzz.cases import PEOPLE, Case, CaseMaker
from tests.fuzz.house import House, make_nonce, open_house
from tests.fuzz.mutation import cut_down
from tests.fuzz.report import Finding, Report
from tests.fuzz.shapes import decode_all

TARGET = "doors"
BLOCK = 1_500
"""Cases for one hall."""
BATCH = 500
"""Cases after which the log is looked at."""
AT_ONCE = 48
QUIET_S = 0.15
"""A client that has heard nothing for so long has said what it had to say, and says so."""
ANSWER_S = 15.0
PING_S = 5.0
PAUSE_S = 0.02
BLAME_S = 10.0
"""How long is looked for the case that made the log complain."""

_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) [A-Za-z -]+\r\n")
_LATE = re.compile(rb"deadline", re.IGNORECASE)
_LAST_REQUEST = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
_LAST_CALL = b'{"jsonrpc":"2.0","id":"last","method":"hall.ping","params":{}}'
_REPLY = b'"jsonrpc":"2.0","id":'
_CLOSING = b'"method":"closing"'


class Said(NamedTuple):
    """What came back for a case."""

    sent: bytes
    came: bytes
    is_closed: bool
    """Whether the hall closed, or answered the last call, within the bound."""


# --- sending --------------------------------------------------------------------------------------


async def send(house: House, case: Case, nonce: bytes) -> Said:
    """Send a case over a connection of its own and return what came of it."""
    door, _, sort = case.kind.partition(".")
    data = house.fill(case, nonce)
    port = house.line_port if door == "line" else house.web_port
    replies = 0
    if door == "http":
        data += _LAST_REQUEST if sort == "call" else b""
    elif sort == "calls":
        # Replies may come in another order, so all of them are waited for.
        replies = sum(map(bool, data.split(b"\n"))) + 1
        if door == "socket":
            data = b"".join(frame(TEXT, line) for line in data.split(b"\n") if line)
            data += frame(TEXT, _LAST_CALL)
        else:
            data += _LAST_CALL + b"\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**22)
    try:
        if door == "socket" and sort != "handshake":
            signed = [f"Authorization: Bearer @access:{case.who}@"] if case.who else []
            hello = house.fill(case._replace(data=make_handshake(*signed)), nonce)
            writer.write(hello)
        came, is_closed = await _talk(reader, writer, data, case.cut_bytes, replies)
    finally:
        writer.transport.abort()
        await asyncio.sleep(0)
    return Said(data, came, is_closed)


async def _talk(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    data: bytes,
    cut_bytes: int,
    replies: int,
) -> tuple[bytes, bool]:
    """Send, and read until the end or so many replies; tell whether there was an end."""
    came, has_ended, until = bytearray(), False, time.monotonic() + ANSWER_S
    sending = asyncio.ensure_future(_pour(writer, data, cut_bytes))
    try:
        while time.monotonic() < until:
            if not sending.done():
                until = time.monotonic() + ANSWER_S
            try:
                piece = await asyncio.wait_for(reader.read(2**18), QUIET_S)
            except TimeoutError:
                if writer.transport.is_closing():
                    return bytes(came), True
                if sending.done() and not has_ended:
                    has_ended = True
                    writer.write_eof()
                continue
            if not piece:
                return bytes(came), True
            came += piece
            if replies and (came.count(_REPLY) >= replies or _CLOSING in came):
                return bytes(came), True
    except (ConnectionError, OSError):
        return bytes(came), True
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
    return bytes(came), False


async def _pour(writer: asyncio.StreamWriter, data: bytes, cut_bytes: int) -> None:
    step = cut_bytes or len(data) or 1
    for start in range(0, len(data), step):
        writer.write(data[start : start + step])
        await writer.drain()
        await asyncio.sleep(0)


# --- what must be true ----------------------------------------------------------------------------


def judge(house: House, case: Case, said: Said, nonce: bytes) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with an answer: in a word, and in detail."""
    if not said.is_closed:
        yield "no answer", f"nothing for {ANSWER_S} s"
    came = said.came[-2_000:].decode("latin-1")
    if _says_fault(case, said):
        yield "server error", came
    if told := _find_mixed(case, said, nonce):
        yield "mixed up", told
    if any(secret in said.came for secret in house.guarded):
        yield "secret told", came


def _says_fault(case: Case, said: Said) -> bool:
    """Tell whether an answer says that the hall has a fault."""
    for message in messages_of(case, said):
        error = message.get("error")
        if isinstance(error, dict) and error.get("data", {}).get("code") == "internal":
            return True
    statuses = set(_STATUS.findall(said.came)) if case.kind.startswith("http") else set()
    # Whoever sets a deadline may miss it, and whoever sends slowly is told so.
    may_be_late = _LATE.search(said.sent) or b"did not arrive within" in said.came
    return b"500" in statuses or (b"504" in statuses and not may_be_late)


def _find_mixed(case: Case, said: Said, nonce: bytes) -> str:
    """Return what of another request or connection stands in the answers, or nothing."""
    if not case.kind.endswith((".call", ".calls")):
        return ""  # its words may have been spoilt themselves
    echoed = re.findall(rb"nonce[0-9a-f]{12}-?\d*", said.came)
    if any(not each.startswith(nonce) for each in echoed):
        return f"another connection's words: {echoed}"
    if case.kind == "http.call" and echoed != sorted(echoed):
        return f"out of order: {echoed}"
    for message in messages_of(case, said):
        told, asked = message.get("result"), str(message.get("id"))
        if asked.startswith("nonce") and "error" not in message and told != {"value": asked}:
            return str(message)
    return ""


def messages_of(case: Case, said: Said) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects that a connection that stays was answered with."""
    came = said.came
    if case.kind.startswith("line"):
        texts = came.split(b"\n")
    elif case.kind.startswith("socket"):
        texts = list(_frames_of(came.partition(b"\r\n\r\n")[2]))
    else:
        return
    for text in texts:
        message = decode_all(text) if text else None
        if isinstance(message, dict):
            yield message


def _frames_of(data: bytes) -> Iterator[bytes]:
    """Yield the payloads of whole text frames; a server's are never masked."""
    while len(data) > 1:
        first, length, at = data[0], data[1], 2
        if length == 126:
            (length,), at = struct.unpack_from("!H", data.ljust(4, b"\0"), 2), 4
        elif length == 127:
            (length,), at = struct.unpack_from("!Q", data.ljust(10, b"\0"), 2), 10
        if first & 0x0F == TEXT:
            yield data[at : at + length]
        data = data[at + length :]


def outcome_of(case: Case, said: Said) -> str:
    """Tell in a word what a case came to, for the coverage."""
    if case.kind.startswith("http") or case.kind == "socket.handshake":
        found = _STATUS.findall(said.came)
        if case.kind == "http.call":  # before it and behind it stand calls that are good
            found = found[3 * case.data.count(b"nonce@-2") :][:1]
        return found[0].decode() if found else "closed"
    names = []
    for message in messages_of(case, said):
        if message.get("id") in (None, 0):
            error = message.get("error")
            data = error.get("data", {}) if isinstance(error, dict) else {}
            names.append(str(data.get("code", "done")))
    return names[0] if names else "closed"


def accepted_of(case: Case, said: Said) -> int:
    """Return how many answers say that something was carried out."""
    if case.kind.startswith("http"):
        return sum(status[:1] == b"2" for status in _STATUS.findall(said.came))
    return sum("result" in message for message in messages_of(case, said))


# --- running --------------------------------------------------------------------------------------


async def run_block(seed: int, block: int, count: int = BLOCK) -> Report:
    """Send ``count`` cases of one block to a hall of its own."""
    report = Report()
    with tempfile.TemporaryDirectory() as folder:
        async with open_house(Path(folder), seed * 100_000 + block) as house:
            chance = random.Random(f"doors/{seed}/{block}")
            maker = CaseMaker(house.hall.hall.catalog.actions, chance)
            done_before = await _count_done(house)
            accepted = unknown = 0
            for start in range(0, count, BATCH):
                cases = [maker.make() for _ in range(min(BATCH, count - start))]
                faults = len(house.log.faults)
                told = await _send_all(house, cases, report)
                for case, said in zip(cases, told, strict=True):
                    accepted += accepted_of(case, said)
                    unknown += outcome_of(case, said) == "closed"
                if len(house.log.faults) > faults:
                    await _blame(house, cases, report, house.log.faults[faults:])
            _judge_log(house, report)
            done = await _count_done(house) - done_before
            report.counts["writes carried out"] += done
            # Of a case that was cut off nobody knows how much was carried out; a few each.
            if done > accepted + 8 * unknown:
                what = f"{done} carried out, {accepted} answered so, {unknown} cut off"
                report.find(Finding(TARGET, "block", "done without an answer", b"", what))
    return report


async def _send_all(house: House, cases: list[Case], report: Report) -> list[Said]:
    """Send cases at once, while somebody else is answered all the time."""
    nonces = [make_nonce() for _ in cases]
    asking = asyncio.ensure_future(_ping_on(house))
    seats = asyncio.Semaphore(AT_ONCE)

    async def send_in_turn(case: Case, nonce: bytes) -> Said:
        async with seats:
            return await send(house, case, nonce)

    told = await asyncio.gather(*map(send_in_turn, cases, nonces))
    asking.cancel()
    (slowest,) = await asyncio.gather(asking)
    report.counts["pings"] += slowest[0]
    if slowest[1] > PING_S:
        joined = b"\n\n".join(case.data for case in cases)
        told_s = f"a ping took {slowest[1]:.1f} s"
        report.find(Finding(TARGET, "batch", "others waited", joined[:10_000], told_s))
    for case, said, nonce in zip(cases, told, nonces, strict=True):
        report.counts[f"{case.kind} {outcome_of(case, said)}"] += 1
        for what, detail in judge(house, case, said, nonce):
            report.find(Finding(TARGET, name_of(case), what, case.data, detail))
    return told


async def _ping_on(house: House) -> tuple[int, float]:
    """Ping as a member who is left alone, until cancelled; return how often and the slowest."""
    count, slowest = 0, 0.0
    reader, writer = await asyncio.open_connection("127.0.0.1", house.line_port)
    try:
        while True:
            began_at = time.monotonic()
            try:
                writer.write(_LAST_CALL + b"\n")
                async with asyncio.timeout(2 * PING_S):
                    line = await reader.readuntil(b"\n")
                assert b'"id":"last"' in line, line
                slowest = max(slowest, time.monotonic() - began_at)
                count += 1
                await asyncio.sleep(PAUSE_S)
            except asyncio.CancelledError:
                return count, max(slowest, time.monotonic() - began_at - PAUSE_S)
            except TimeoutError:
                return count, 2 * PING_S
    finally:
        writer.transport.abort()


async def _blame(house: House, cases: list[Case], report: Report, faults: list[str]) -> None:
    """Find out which of some cases made the hall log an error; they are sent once more."""
    found, until = False, time.monotonic() + BLAME_S
    for case in cases:
        if time.monotonic() > until:
            break
        before = len(house.log.faults)
        await send(house, case, make_nonce())
        for fault in house.log.faults[before:]:
            found = True
            report.find(Finding(TARGET, name_of(case), what_of(fault), case.data, fault))
    if not found:
        joined = b"\n\n".join(case.data for case in cases)[:10_000]
        for fault in faults:
            report.find(Finding(TARGET, "batch", what_of(fault), joined, fault))


def what_of(fault: str) -> str:
    """Return the line of a fault that names the exception."""
    lines = [line for line in fault.strip().replace("\\n", "\n").splitlines() if line.strip()]
    named = [line for line in lines if re.match(r"[\w.]+(Error|Exception)\b", line)]
    return "logged: " + re.sub(r"0x[0-9a-f]+", "0x", (named or lines or ["?"])[-1])[:100]


def _judge_log(house: House, report: Report) -> None:
    """Look for secrets in all that was logged."""
    log = "\n".join(house.log.lines).encode("utf-8", "replace")
    for secret in [*house.guarded, *house.sent]:
        at = log.find(secret)
        if at >= 0:
            told = log[max(0, at - 200) : at + 200].decode("utf-8", "replace")
            report.find(Finding(TARGET, "block", "secret logged", b"", told))


async def _count_done(house: House) -> int:
    """Return how many WRITEs the audit trail says were carried out."""
    actions = house.hall.hall.catalog.actions.values()
    writes = [f"'{each.name}'" for each in actions if each.effect is Effect.WRITE]
    sql = (
        "SELECT COUNT(*) FROM access_audit WHERE outcome = 'done' "
        f"AND action IN ({', '.join(writes)})"
    )
    [(count,)] = await house.hall.rows(sql)
    return int(count)


# --- again ----------------------------------------------------------------------------------------


def name_of(case: Case) -> str:
    """Return all of a case but its data, as a word."""
    return f"{case.kind}/{case.who}/{case.cut_bytes}"


def case_of(finding: Finding) -> Case:
    """Return the case of a finding."""
    kind, who, cut_bytes = finding.kind.split("/")
    assert who in {*PEOPLE, ""}
    return Case(kind, finding.data, who, int(cut_bytes))


async def replay(finding: Finding) -> list[str]:
    """Send a finding once more, to a new hall; return what is wrong in a word each."""
    case, nonce = case_of(finding), make_nonce()
    with tempfile.TemporaryDirectory() as folder:
        async with open_house(Path(folder), 0) as house:
            said = await send(house, case, nonce)
            wrong = [what for what, _ in judge(house, case, said, nonce)]
            report = Report()
            _judge_log(house, report)
            faults = [what_of(fault) for fault in house.log.faults]
            return [*wrong, *faults, *(each.what for each in report.findings)]


async def cut(finding: Finding) -> Finding:
    """Return a finding with the smallest input that still does it."""

    async def still(data: bytes) -> bool:
        return finding.what in await replay(finding._replace(data=data))

    if "/" not in finding.kind or not await still(finding.data):
        return finding
    return finding._replace(data=await cut_down(finding.data, still))
