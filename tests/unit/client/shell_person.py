"""Somebody who types into the shell, and a real hall that answers: all but the network."""

import contextlib
import os
from pathlib import Path
from typing import Any

import httpx
import pytest

from moothall.app.doors import backend_of, describe_hall
from moothall.client import Wallet, World
from moothall.client.cli.main import build_cli
from moothall.client.cli.settings import Settings
from moothall.client.cli.shell.engine import Shell
from moothall.client.cli.shell.start import StartPlace
from moothall.client.cli.state import State
from moothall.client.wallet import Server
from moothall.testing import ManualClock, open_test_hall
from moothall.testing.hall import ISSUER, PASSWORD, OpenHall, Visitor
from moothall.transports.http.application import Documents, HttpApplication
from moothall.transports.http.bounds import HttpBounds
from moothall.transports.http.openapi import build_openapi
from moothall.transports.http.state import FROM_CLIENT

NAME = "home"


class Desk:
    """A person with a wallet, who knows one hall, and that hall.

    Attributes:
        hall: The hall, to bring about what others do.
        away_for: Actions at which the hall is away, once each.
        calls: Names of the actions that were asked for.
        code: With what the shell ended.
    """

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.away_for: set[str] = set()
        self.calls: list[str] = []
        self.code: int | None = None
        self._capsys = capsys
        self._stack = contextlib.AsyncExitStack()
        wallet, clock = folder / "wallet", ManualClock()
        Wallet(wallet).add_server(NAME, Server(url=ISSUER, trust="system"))
        self.state = State(
            Settings(config_dir=str(wallet), retries=0),
            World(transport=httpx.MockTransport(self._answer), now_ms=clock.now_ms),
        )
        # In the loop of the shell: it stands still while the shell waits for a line.
        self.hall: OpenHall = self.run(
            self._stack.enter_async_context(open_test_hall(folder, clock=clock))
        )
        application = HttpApplication(
            backend_of(self.hall.hall),
            Documents(
                openapi=lambda: build_openapi(self.hall.hall.catalog.actions.values()),
                jwks=self.hall.hall.public_jwks,
                describe=lambda: describe_hall(self.hall.hall),
            ),
            bounds=HttpBounds(),
        )

        async def door(scope: Any, receive: Any, send: Any) -> None:
            # What the listener knows of a connection.
            await application({**scope, "state": FROM_CLIENT}, receive, send)

        self._door = httpx.ASGITransport(door)

    def run(self, deed: Any) -> Any:
        return self.state.run(deed)

    def does(self, action: str, as_: Visitor, **request: Any) -> Any:
        """Let somebody else call an action."""
        return self.run(self.hall.call(action, request, as_=as_))

    def signs_in(self, name: str) -> None:
        self.run(self.state.hall().sign_in(name, PASSWORD))

    def types(self, *lines: str) -> str:
        """Type lines into a new shell, then Ctrl-D; return what it showed."""
        return self.sends("".join(f"{line}\n" for line in lines).encode())

    def sends(self, typed: bytes) -> str:
        """Send bytes to a new shell, then nothing more; return what it showed."""
        reading, writing = os.pipe()
        os.write(writing, typed)
        os.close(writing)
        self._capsys.readouterr()
        with (
            os.fdopen(reading, encoding="utf-8") as stream,
            Shell(self.state, build_cli(), stream) as shell,
        ):
            self.code = shell.run(StartPlace())
        shown = self._capsys.readouterr()
        return shown.out + shown.err

    def close(self) -> None:
        try:
            self.run(self._stack.aclose())
        finally:
            self.state.close()

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        action = request.url.path.removeprefix("/v1/")
        if action in self.away_for:
            self.away_for.remove(action)
            raise httpx.ConnectError("refused")
        self.calls.append(action)
        return await self._door.handle_async_request(request)
