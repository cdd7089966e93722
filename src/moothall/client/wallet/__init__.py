"""The wallet: which halls a person knows, and the sessions there.

A folder of files: `servers.json` (addresses, pinned certificates, the current one),
`sessions.json` (secrets, readable by the owner alone) and `cache/` (what halls offer; it
may be removed at any time). Every change reads, changes and writes under a lock, so that
two programs lose nothing of each other's.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from moothall.client.errors import WalletError
from moothall.client.store import Session
from moothall.client.wallet.files import FileLock, read_file, write_file
from moothall.client.wallet.model import Server, ServersFile, SessionsFile, is_server_name
from moothall.core.names import near_matches

if TYPE_CHECKING:
    from moothall.client.hall import Hall
    from moothall.client.retry import Limits
    from moothall.client.world import World

__all__ = ["Server", "Wallet", "WalletStore", "default_folder"]

_SESSION_LOCK_TIMEOUT_S = 30.0
_SESSION_LOCK_POLL_S = 0.05


def default_folder() -> Path:
    """Return where the wallet is: $MOOTHALL_CONFIG_DIR, or the system's place for it."""
    if told := os.environ.get("MOOTHALL_CONFIG_DIR"):
        return Path(told)
    import platformdirs  # noqa: PLC0415 - seldom needed where speed is

    return Path(platformdirs.user_config_dir("moothall", appauthor=False))


class Wallet:
    """The files of one person.

    Every method raises ``WalletDamagedError`` if a file is damaged, and leaves it as it is.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or default_folder()
        self._servers_path = self.folder / "servers.json"
        self._sessions_path = self.folder / "sessions.json"

    # --- servers ----------------------------------------------------------------------------------

    def read(self) -> ServersFile:
        """Return all servers and which is the current one."""
        return read_file(self._servers_path, ServersFile) or ServersFile()

    def get_server(self, name: str | None = None) -> tuple[str, Server]:
        """Return name and data of a server; of the current one by default.

        Raises:
            WalletError: There is none of that name, or no current one.
        """
        known = self.read()
        name = known.current if name is None else name
        if name is None:
            raise WalletError("no server is known yet", "add one: moothall server add NAME URL")
        server = known.servers.get(name)
        if server is None:
            near = near_matches(name, known.servers)
            hint = f"did you mean {', '.join(near)}?" if near else "see: moothall server list"
            raise WalletError(f"there is no server called {name!r}", hint)
        return name, server

    def add_server(self, name: str, server: Server) -> None:
        """Add a server; the first becomes the current one.

        Raises:
            WalletError: The name is taken, or cannot be one.
        """
        _check_name(name)

        def change(known: ServersFile) -> ServersFile:
            if name in known.servers:
                raise WalletError(
                    f"there is a server called {name!r} already",
                    "choose another name, or change it: moothall server edit",
                )
            return ServersFile(
                current=known.current or name, servers={**known.servers, name: server}
            )

        self._change_servers(change)

    def edit_server(self, name: str, server: Server, *, new_name: str | None = None) -> None:
        """Change a server. Another address or certificate ends the session here.

        Raises:
            WalletError: It is unknown, or the new name is taken or cannot be one.
        """
        _, old = self.get_server(name)
        target = new_name or name
        _check_name(target)

        def change(known: ServersFile) -> ServersFile:
            if target != name and target in known.servers:
                raise WalletError(f"there is a server called {target!r} already")
            servers = {
                (target if one == name else one): (server if one == name else data)
                for one, data in known.servers.items()
            }
            return ServersFile(
                current=target if known.current == name else known.current, servers=servers
            )

        self._change_servers(change)
        session = self.load_session(name)
        if old != server or target != name:
            self.save_session(name, None)
            self._cache_path(name).unlink(missing_ok=True)
        if old == server and target != name:
            self.save_session(target, session)

    def remove_server(self, name: str) -> None:
        """Forget a server and the session there.

        Raises:
            WalletError: It is unknown.
        """
        self.get_server(name)

        def change(known: ServersFile) -> ServersFile:
            servers = {one: data for one, data in known.servers.items() if one != name}
            current = next(iter(servers), None) if known.current == name else known.current
            return ServersFile(current=current, servers=servers)

        # First the secret, so that a crash between leaves none behind.
        self.save_session(name, None)
        self._change_servers(change)
        self._cache_path(name).unlink(missing_ok=True)

    def use_server(self, name: str) -> None:
        """Make a server the current one.

        Raises:
            WalletError: It is unknown.
        """
        self.get_server(name)
        self._change_servers(lambda known: ServersFile(current=name, servers=known.servers))

    def _change_servers(self, change: Callable[[ServersFile], ServersFile]) -> None:
        with FileLock(self.folder / "servers.lock").held():
            self._write(self._servers_path, change(self.read()))

    # --- sessions ---------------------------------------------------------------------------------

    def hall(
        self,
        name: str | None = None,
        *,
        limits: "Limits | None" = None,
        world: "World | None" = None,
    ) -> "Hall":
        """Return a hall by its name here, the current one by default, with its session.

        Raises:
            WalletError: There is none of that name, or no current one.
        """
        from moothall.client.hall import Hall  # noqa: PLC0415 - heavy, and help does without

        name, server = self.get_server(name)
        return Hall(
            server.url,
            certificate_pem=server.certificate_pem,
            insecure=server.trust == "insecure",
            store=self.store(name),
            limits=limits,
            world=world,
        )

    def store(self, name: str) -> "WalletStore":
        """Return what is kept about one server, for a :class:`Hall`."""
        return WalletStore(self, name)

    def load_session(self, name: str) -> Session | None:
        """Return the session on a server."""
        known = read_file(self._sessions_path, SessionsFile)
        return None if known is None else known.sessions.get(name)

    def save_session(self, name: str, session: Session | None) -> None:
        """Store the session on a server, or forget it."""
        with FileLock(self.folder / "sessions.lock").held():
            known = read_file(self._sessions_path, SessionsFile) or SessionsFile()
            others = {one: data for one, data in known.sessions.items() if one != name}
            if session is None and len(others) == len(known.sessions):
                return
            if session is not None:
                others[name] = session
            self._write(self._sessions_path, SessionsFile(sessions=others))

    # --- cache ------------------------------------------------------------------------------------

    def load_catalog(self, name: str) -> tuple[str, bytes] | None:
        """Return ETag and description of a server, if they are kept and whole."""
        try:
            etag, _, document = self._cache_path(name).read_bytes().partition(b"\n")
            return (etag.decode(), document) if etag and document else None
        except (OSError, UnicodeDecodeError):
            return None

    def save_catalog(self, name: str, etag: str, document: bytes) -> None:
        """Keep the description of a server; what cannot be kept is fetched again."""
        with contextlib.suppress(WalletError):
            write_file(self._cache_path(name), etag.encode() + b"\n" + document)

    def _cache_path(self, name: str) -> Path:
        return self.folder / "cache" / f"{name}.openapi"

    @staticmethod
    def _write(path: Path, content: msgspec.Struct) -> None:
        write_file(path, msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n")


class WalletStore:
    """What the wallet keeps about one server; a ``Store``."""

    def __init__(self, wallet: Wallet, name: str) -> None:
        self._wallet = wallet
        self._name = name

    def load_session(self) -> Session | None:
        """Return the session, or None."""
        return self._wallet.load_session(self._name)

    def save_session(self, session: Session | None) -> None:
        """Store the session durably, whole or not at all; None forgets it."""
        self._wallet.save_session(self._name, session)

    @contextlib.asynccontextmanager
    async def lock_session(self) -> AsyncIterator[None]:
        """Keep every other process from renewing this session meanwhile.

        Raises:
            WalletError: Another process did not let go in time.
        """
        lock = FileLock(self._wallet.folder / f"renew-{self._name}.lock")
        try:
            async with asyncio.timeout(_SESSION_LOCK_TIMEOUT_S):
                while not lock.try_acquire():  # noqa: ASYNC110 - the other is a process
                    await asyncio.sleep(_SESSION_LOCK_POLL_S)
        except TimeoutError:
            raise lock.busy() from None
        try:
            yield
        finally:
            lock.release()

    def load_catalog(self) -> tuple[str, bytes] | None:
        """Return the ETag and the description of the hall, or None."""
        return self._wallet.load_catalog(self._name)

    def save_catalog(self, etag: str, document: bytes) -> None:
        """Keep a description."""
        self._wallet.save_catalog(self._name, etag, document)


def _check_name(name: str) -> None:
    if not is_server_name(name):
        raise WalletError(
            f"a server cannot be called {name!r}",
            "use 1 to 64 lower-case letters, digits, '.', '_' or '-'",
        )
