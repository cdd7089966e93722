"""What one run of the program holds: settings, wallet, event loop, the hall it speaks to."""

import asyncio
import sys
import time
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

import click

from moothall.client.catalog import EMPTY, Catalog, read_catalog
from moothall.client.cli.settings import Settings
from moothall.client.errors import CallTimeoutError, HallUnreachableError
from moothall.client.wallet import Wallet
from moothall.client.world import World

if TYPE_CHECKING:
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
        self._hall: Hall | None = None
        self._opened_with: Settings | None = None
        self._catalog: Catalog | None = None

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

    def hall(self) -> "Hall":
        """Return the hall of this run.

        Raises:
            WalletError: No server is known, or the wallet is damaged.
        """
        if self._hall is None or self._opened_with != self.settings:
            self._close_hall()
            self._hall = self.run(self._open())
            self._opened_with = self.settings
        return self._hall

    def catalog(self) -> Catalog:
        """Return what the hall offers, asking the hall; without one known, nothing."""
        if self._catalog is None:
            self._catalog = self._find_catalog()
        return self._catalog

    def kept_catalog(self) -> Catalog:
        """Return what the hall offered when it was last asked. Needs no network."""
        if self._catalog is not None:
            return self._catalog
        current = self.settings.server or self.wallet.read().current
        kept = self.wallet.load_catalog(current) if current else None
        return EMPTY if kept is None else read_catalog(kept[1])

    def run(self, deed: Coroutine[Any, Any, T]) -> T:
        """Run something asynchronous, within the time that is left.

        Raises:
            CallTimeoutError: The time for everything is up.
        """
        if self._runner is None:
            self._runner = asyncio.Runner()
        return self._runner.run(self._in_time(deed))

    def close(self) -> None:
        """Close connections and loop."""
        try:
            self._close_hall()
        finally:
            if self._runner is not None:
                self._runner.close()

    async def _open(self) -> "Hall":
        settings = self.settings
        return self.wallet.hall(settings.server, limits=settings.limits, world=self._world)

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

    def _find_catalog(self) -> Catalog:
        known = self.wallet.read()
        if self.settings.server is None and known.current is None:
            return EMPTY
        try:
            return self.run(self.hall().catalog())
        except HallUnreachableError:
            kept = self.kept_catalog()
            if kept is EMPTY:
                raise
            return kept

    def _close_hall(self) -> None:
        if self._hall is not None and self._runner is not None:
            self._runner.run(self._hall.close())
        self._hall = None


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
