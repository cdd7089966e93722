"""A hall with people in it for the fuzzer, behind its real doors, and all that it logs."""

import asyncio
import logging
import re
import secrets
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator, MutableMapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from moothall.app.config import Settings
from moothall.app.doors import open_doors
from moothall.testing import OpenHall, open_test_hall
from moothall.testing.hall import PASSWORD
from tests.conformance.site import ECHO
from tests.fuzz.cases import FILE, FILE_SHA256, PEOPLE, Case

_PLACE = re.compile(rb"@([a-z]+(?::[a-z]+)?)@")
_LIMITS_SCALE = 1e9
"""Limits would hide what lies behind them."""
_TABLES = {
    "registration": {
        "guests": True,
        "accounts_per_source_hour_max": 1_000_000,
        "messages_per_source_hour_max": 1_000_000,
    },
    "mail": {"command": ["true"]},
}


@dataclass
class Log:
    """What the hall and the event loop logged.

    Attributes:
        lines: All of it, as text.
        faults: Errors among it: nothing that a client sends may make one.
    """

    lines: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


class _Listening(logging.Handler):
    def __init__(self, log: Log) -> None:
        super().__init__(logging.DEBUG)
        self._log = log
        self.setFormatter(logging.Formatter())

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        self._log.lines.append(text)
        if record.levelno >= logging.ERROR:
            self._log.faults.append(text)


@contextmanager
def listen() -> Iterator[Log]:
    """Keep all that is logged meanwhile, instead of showing it."""
    log = Log()

    def keep(_logger: object, method: str, event: MutableMapping[str, Any]) -> Any:
        text = repr(dict(event))
        log.lines.append(text)
        if method in {"error", "critical", "exception"}:
            log.faults.append(text)
        raise structlog.DropEvent

    before = structlog.get_config() if structlog.is_configured() else None
    structlog.configure(
        processors=[structlog.processors.format_exc_info, keep],
        cache_logger_on_first_use=False,
    )
    handler = _Listening(log)
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    logging.getLogger("asyncio").setLevel(logging.INFO)
    try:
        yield log
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
        structlog.reset_defaults()
        if before is not None:
            structlog.configure(**before)


@dataclass
class House:
    """A hall, its doors, and what stands for what in a case.

    Attributes:
        guarded: Secrets that no case holds; they may stand in no answer and no log line.
        sent: Secrets that cases hold; they may stand in no log line.
    """

    hall: OpenHall
    web_port: int
    line_port: int
    log: Log
    words: dict[bytes, bytes]
    guarded: list[bytes]
    sent: list[bytes]

    def fill(self, case: Case, nonce: bytes) -> bytes:
        """Return what is sent for a case."""

        def word(match: re.Match[bytes]) -> bytes:
            return self.words.get(match[1], match[0])

        data = _PLACE.sub(word, case.data.replace(b"@nonce@", nonce))
        while (at := data.find(b"@length@")) >= 0:
            body = data[at:].partition(b"\r\n\r\n")[2].partition(b"POST /v1/")[0]
            data = data.replace(b"@length@", b"%d" % len(body), 1)
        return data


@asynccontextmanager
async def open_house(folder: Path, seed: int) -> AsyncIterator[House]:
    """Open a hall with its doors, without TLS: it lies below all that is tried here."""
    with listen() as log:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, told: log.faults.append(f"event loop: {told}"))
        settings = Settings(port=0, ndjson_port=0, insecure=True, connections_per_source_max=4_096)
        async with open_test_hall(
            folder, functions=[ECHO], seed=seed, limits_scale=_LIMITS_SCALE, tables=_TABLES
        ) as hall:
            words, guarded = await _furnish(hall)
            doors = await open_doors(hall.hall, settings, None)
            web, line = (int(url.rpartition(":")[2]) for url in doors.urls[:2])
            sent = [value for name, value in words.items() if _is_secret(name)]
            try:
                yield House(hall, web, line, log, words, guarded, sent)
            finally:
                await doors.close()


def _is_secret(name: bytes) -> bool:
    return name == b"password" or name.partition(b":")[0] in {b"access", b"refresh"}


async def _furnish(hall: OpenHall) -> tuple[dict[bytes, bytes], list[bytes]]:
    """Bring people in and give them something to have; return the words of cases."""
    boss = await hall.administrator("boss")
    visitors = {"boss": boss}
    for name in ("ada", "eve", "victim", "vault"):
        visitors[name] = await hall.member(name)
    guest = await hall.call("identity.register_guest", {})
    words: dict[str, str] = {"password": PASSWORD, "cursor": hall.cursor(1)}
    for name, visitor in visitors.items():
        asked = {"name": name, "password": PASSWORD}
        opened = await hall.call("identity.open_session", asked)
        words[f"access:{name}"] = visitor.token
        words[f"refresh:{name}"] = opened.refresh_token
        words[f"member:{name}"] = visitor.member_id
        words[f"session:{name}"] = opened.session_id
    words[f"access:{PEOPLE[-1]}"] = guest.access_token
    for board in ("kart", "golf"):
        made = {"board_id": board, "name": board, "direction": "descending"}
        made["default_level"] = "write"
        await hall.call("leaderboards.create_board", made, as_=boss)
    ada = visitors["ada"]
    score = {"board_id": "kart", "score": 1.5}
    words["entry"] = (await hall.call("leaderboards.submit_score", score, as_=ada)).entry_id
    comment = {"entry_id": words["entry"], "text": "well done"}
    made_comment = await hall.call("leaderboards.add_comment", comment, as_=boss)
    words["comment"] = made_comment.comment_id
    chunk = {"sha256": FILE_SHA256, "size_bytes": len(FILE), "offset": 0}
    data = b64encode(FILE).decode()
    await hall.call("files.put_chunk", {**chunk, "data": data}, as_=ada)
    words["kid"] = str(hall.hall.keys.signing_key().kid)
    guarded = [words.pop(f"{kind}:vault") for kind in ("access", "refresh")]
    guarded.append("cheap:")  # how a hash of a password begins in a hall for tests
    filled = {name.encode(): value.encode() for name, value in words.items()}
    return filled, [each.encode() for each in guarded]


def make_nonce() -> bytes:
    """Return a word that nobody else has."""
    return b"nonce" + secrets.token_hex(6).encode()
