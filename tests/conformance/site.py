"""A hall behind its HTTPS door, and a client that sends the very bytes it is given."""

import datetime as dt
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from moothall.testing import OpenHall, open_test_hall
from moothall.transports.tls import ServerTls, ensure_certificate
from tests.conformance.http_wire import Wire, connect, open_door

ECHO = Path(__file__).parent / "rooms" / "echo"
"""A room with the action ``echo.repeat_value``, which takes any value."""


@asynccontextmanager
async def open_site(folder: Path) -> AsyncIterator[tuple[OpenHall, Wire]]:
    files = ensure_certificate(folder / "tls", [], dt.datetime.now(dt.UTC))
    tls = ServerTls(files, alpn=("http/1.1",))
    trusting = ssl.create_default_context(cafile=files.certificate)
    async with (
        open_test_hall(folder, functions=[ECHO]) as hall,
        open_door(hall.hall.pipeline.answer, context=tls.context) as door,
        connect(door, trusting) as wire,
    ):
        yield hall, wire
