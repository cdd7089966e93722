"""What one run of the program holds: settings, wallet, event loop, the halls it speaks to.

A run speaks to the current server. If that is a resource server, there is a second one: the
identity server whose session it uses. What a person does as somebody (`login`, `whoami`) goes
there, and so does every command that only the identity server offers.
"""

import asyncio
import sys
import time
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

import click

from moothall.client.catalog import EMPTY, Catalog, read_catalog
from moothall.client.cli.settings import Settings
from moothall.client.errors import CallTimeoutError, HallUnreachableError
from moothall.client.wallet import Wallet
from moothall.client.world import World

if TYPE_CHECKING:
    from moothall.client.description import Description
    from moothall.client.hall import Hall
    from moothall.client.wallet import Server

T = TypeVar("T")


class State:
    """One run. Network and event loop are opened when first needed."""

    def __init__(self, settings: Settings, world: World | None = None) -> None:
        self.settings = settings
        self._world = world
        self._started_s = time.monotonic()
        self._runner: asyncio.Runner | None = None
        self._halls: dict[str, Hall] = {}
        self._opened_with: Settings | None = None
        self._catalogs: dict[str, Catalog] = {}

    @property
    def wallet(self) -> Wallet:
        """The wallet."""
        return Wallet(self.settings.folder)

    def server(self) -> "tuple[str, Server]":
        """Return name and data of the server that this run speaks to.

        Raises:
            WalletError: None is known, or not this one.
        """
        return self.wallet.get_server(self.settings.server)

    def identity_server(self) -> "tuple[str, Server]":
        """Return name and data of the server where sessions are opened.

        Raises:
            WalletError: No server is known, or this one has no identity server.
        """
        return self.wallet.identity_of(self.settings.server)

    def hall(self) -> "Hall":
        """Return the hall of this run.

        Raises:
            WalletError: No server is known, or the wallet is damaged.
        """
        return self._open_hall(self.server()[0])

    def identity_hall(self) -> "Hall":
        """Return the hall where sessions are opened; that of this run, or the one behind it.

        Raises:
            WalletError: No server is known, or this one has no identity server.
        """
        return self._open_hall(self.identity_server()[0])

    def place_of(self, action: str) -> "tuple[str, Hall]":
        """Return name and hall of the server that offers an action: if both do, the current one."""
        name, server = self.server()
        if server.kind == "resource" and action not in self.catalog().operations:
            identity, _ = self.identity_server()
            if action in self._find_catalog(identity).operations:
                name = identity
        return name, self._open_hall(name)

    def catalog(self) -> Catalog:
        """Return what the hall of this run offers, asking it; without one known, nothing."""
        name = self._current_name()
        return EMPTY if name is None else self._find_catalog(name)

    def identity_catalog(self) -> Catalog:
        """Return what only the identity server behind a resource server offers."""
        return self._only_there(self._find_catalog, self.catalog)

    def kept_catalog(self) -> Catalog:
        """Return what the hall offered when it was last asked. Needs no network."""
        name = self._current_name()
        return EMPTY if name is None else self._kept_catalog(name)

    def kept_identity_catalog(self) -> Catalog:
        """Return what only the identity server offered when it was last asked."""
        return self._only_there(self._kept_catalog, self.kept_catalog)

    def describe(self, server: "Server") -> "Description | None":
        """Ask a server, which need not stand in the wallet, of what kind it is."""
        return self.run(self._describe(server))

    def run(self, deed: Coroutine[Any, Any, T]) -> T:
        """Run something asynchronous, within the time that is left.

        Raises:
            CallTimeoutError: The time for everything is up.
        """
        if self._runner is None:
            self._runner = asyncio.Runner()
        return self._runner.run(self._in_time(deed))

    def reopen(self) -> None:
        """Close all halls, because an entry was changed; the next call opens them anew."""
        self._close_halls()
        self._catalogs.clear()

    def close(self) -> None:
        """Close connections and loop."""
        try:
            self._close_halls()
        finally:
            if self._runner is not None:
                self._runner.close()

    async def _in_time(self, deed: Coroutine[Any, Any, T]) -> T:
        whole_s = self.settings.duration
        if whole_s is None:
            return await deed
        left_s = self._started_s + whole_s - time.monotonic()
        try:
            async with asyncio.timeout(max(left_s, 0.001)):
                return await deed
        except TimeoutError as error:
            raise CallTimeoutError(
                f"the time for everything ({whole_s:g} s) is up",
                "what was already answered is done; give it more time (--duration)",
                outcome_unknown=True,
            ) from error

    def _current_name(self) -> str | None:
        return self.settings.server or self.wallet.read().current

    def _open_hall(self, name: str) -> "Hall":
        """Return the hall of an entry; one for each, so that they share a session."""
        if self._opened_with != self.settings:
            self._close_halls()
            self._opened_with = self.settings
        if name not in self._halls:
            identity_name, _ = self.wallet.identity_of(name)
            identity = None if identity_name == name else self._open_hall(identity_name)
            self._halls[name] = self.run(self._make_hall(name, identity))
        return self._halls[name]

    async def _describe(self, server: "Server") -> "Description | None":
        from moothall.client.hall import Hall  # noqa: PLC0415 - heavy, and help does without

        async with Hall(
            server.url,
            certificate_pem=server.certificate_pem,
            insecure=server.trust == "insecure",
            limits=self.settings.limits,
            world=self._world,
        ) as hall:
            return await hall.describe()

    async def _make_hall(self, name: str, identity: "Hall | None") -> "Hall":
        limits = self.settings.limits
        return self.wallet.hall(name, identity=identity, limits=limits, world=self._world)

    def _find_catalog(self, name: str) -> Catalog:
        if name not in self._catalogs:
            hall = self._open_hall(name)
            try:
                self._catalogs[name] = self.run(hall.catalog())
            except HallUnreachableError:
                kept = self._kept_catalog(name)
                if kept is EMPTY:
                    raise
                self._catalogs[name] = kept
        return self._catalogs[name]

    def _kept_catalog(self, name: str) -> Catalog:
        if name in self._catalogs:
            return self._catalogs[name]
        kept = self.wallet.load_catalog(name)
        return EMPTY if kept is None else read_catalog(kept[1])

    def _only_there(
        self, find: Callable[[str], Catalog], find_here: Callable[[], Catalog]
    ) -> Catalog:
        name = self._current_name()
        if name is None or self.wallet.get_server(name)[1].kind == "identity":
            return EMPTY
        identity, _ = self.wallet.identity_of(name)
        there, here = find(identity), find_here().operations
        only = {one: data for one, data in there.operations.items() if one not in here}
        return Catalog(only, there.schemas)

    def _close_halls(self) -> None:
        halls, self._halls = self._halls, {}
        if self._runner is not None:
            # Those that others take tokens of were opened first.
            for hall in reversed(halls.values()):
                self._runner.run(hall.close())


def state_of(context: click.Context) -> State:
    """Return the state of the run that a command belongs to."""
    state = context.find_object(State)
    if state is None:
        state = State(Settings())
        context.find_root().obj = state
    return state


def is_interactive() -> bool:
    """Tell whether a person can be asked something."""
    return sys.stdin.isatty()
