"""The wallet: which halls a person knows, and the sessions there.

A folder of files: `servers.json` (addresses, pinned certificates, the current one),
`sessions.json` (readable by the owner alone; the weightiest secrets only where no keyring takes
them) and `cache/` (what halls offer; it may be removed at any time). Every change reads, changes
and writes under a lock, so that two programs lose nothing of each other's.

A server is an entry with a name: where it is, what proves that it is the one meant, and whose
session is used there. So an entry is what other programs call a context.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from moothall.client.errors import WalletError
from moothall.client.store import IssuedToken, Session
from moothall.client.wallet.files import FileLock, encode_file, read_file, write_file
from moothall.client.wallet.model import Server, ServersFile, is_server_name
from moothall.client.wallet.secrets import Vault, find_place
from moothall.client.wallet.sessions import SessionBook
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

    Args:
        folder: Where they are; :func:`default_folder` by default.
        secrets: Where refresh tokens rest: ``auto``, ``keyring`` or ``file``;
            ``$MOOTHALL_SECRETS`` by default.

    Every method raises ``WalletDamagedError`` if a file is damaged, and leaves it as it is.
    """

    def __init__(self, folder: Path | None = None, *, secrets: str | None = None) -> None:
        self.folder = folder or default_folder()
        self.vault = Vault(find_place(secrets))
        self.sessions = SessionBook(self.folder, self.vault)
        self._servers_path = self.folder / "servers.json"

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

    def identity_of(self, name: str | None = None) -> tuple[str, Server]:
        """Return the identity server of a server: itself, or whose session it uses.

        Raises:
            WalletError: It is unknown, or has none.
        """
        name, server = self.get_server(name)
        if server.kind == "identity":
            return name, server
        identity = self.read().servers.get(server.identity or "")
        if server.identity is None or identity is None or identity.kind != "identity":
            raise WalletError(
                f"{name} has no identity server here",
                f"say which: moothall server edit {name} --identity NAME",
            )
        return server.identity, identity

    def add_server(self, name: str, server: Server) -> None:
        """Add a server; the first becomes the current one.

        Raises:
            WalletError: The name is taken, or cannot be one; its identity server is unknown.
        """
        _check_name(name)

        def change(known: ServersFile) -> ServersFile:
            if name in known.servers:
                raise WalletError(
                    f"there is a server called {name!r} already",
                    "choose another name, or change it: moothall server edit",
                )
            _check_tie(known, name, server)
            return ServersFile(
                current=known.current or name, servers={**known.servers, name: server}
            )

        self._change_servers(change)

    def edit_server(self, name: str, server: Server, *, new_name: str | None = None) -> None:
        """Change a server. Another address or certificate ends the session here.

        Raises:
            WalletError: It is unknown, or the new name is taken or cannot be one; others take
                tokens of it, and it would be another server or none that opens sessions.
        """
        _, old = self.get_server(name)
        target = new_name or name
        _check_name(target)

        def change(known: ServersFile) -> ServersFile:
            if target != name and target in known.servers:
                raise WalletError(f"there is a server called {target!r} already")
            _check_tie(known, name, server)
            is_other = server.kind != old.kind or (
                old.issuer is not None and server.issuer != old.issuer
            )
            if is_other and (users := known.users_of(name)):
                raise _in_use(name, users, "would be another server, and opens the sessions of")
            servers = {
                (target if one == name else one): (server if one == name else data)
                for one, data in known.servers.items()
            }
            servers = {
                one: replace(data, identity=target) if data.identity == name else data
                for one, data in servers.items()
            }
            return ServersFile(
                current=target if known.current == name else known.current, servers=servers
            )

        change(self.read())
        is_moved = not old.is_same_place(server)
        if is_moved:
            # Before the address changes: no secret may be kept for a place it is not for.
            self.save_session(name, None)
            self.sessions.save_token(name, None)
        self._change_servers(change)
        if target != name:
            self.sessions.rename(name, target)
        if is_moved or target != name:
            self._cache_path(name).unlink(missing_ok=True)

    def check_removal(self, name: str) -> None:
        """Refuse what :meth:`remove_server` would refuse."""
        self.get_server(name)
        _check_unused(self.read(), name)

    def remove_server(self, name: str) -> None:
        """Forget a server and the session there.

        Raises:
            WalletError: It is unknown, or other servers take tokens of it.
        """
        self.check_removal(name)

        def change(known: ServersFile) -> ServersFile:
            _check_unused(known, name)
            servers = {one: data for one, data in known.servers.items() if one != name}
            current = next(iter(servers), None) if known.current == name else known.current
            return ServersFile(current=current, servers=servers)

        # First the secret, so that a crash between leaves none behind.
        self.save_session(name, None)
        self.sessions.save_token(name, None)
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
            write_file(self._servers_path, encode_file(change(self.read())))

    # --- halls and sessions -----------------------------------------------------------------------

    def hall(
        self,
        name: str | None = None,
        *,
        identity: "Hall | None" = None,
        limits: "Limits | None" = None,
        world: "World | None" = None,
    ) -> "Hall":
        """Return a hall by its name here, the current one by default, with its session.

        Args:
            name: Its name here.
            identity: The identity server of a resource server, where one is open already;
                else it is opened, and closed with the hall.
            limits: Times, repetitions and sizes; for asking for tokens too.
            world: Time, chance and network; tests bring their own.

        Raises:
            WalletError: There is none of that name, or no current one; a resource server has
                no identity server here.
        """
        from moothall.client.hall import Hall  # noqa: PLC0415 - heavy, and help does without
        from moothall.client.tokens import IssuedTokens  # noqa: PLC0415 - as above

        name, server = self.get_server(name)
        tokens = None
        if server.kind == "resource":
            identity_name, _ = self.identity_of(name)
            tokens = IssuedTokens(
                identity or self.hall(identity_name, limits=limits, world=world),
                server.address.origin,
                shelf=self.store(name),
                world=world,
                is_owner=identity is None,
            )
        return Hall(
            server.url,
            certificate_pem=server.certificate_pem,
            insecure=server.trust == "insecure",
            store=self.store(name),
            tokens=tokens,
            limits=limits,
            world=world,
        )

    def store(self, name: str) -> "WalletStore":
        """Return what is kept about one server, for a :class:`Hall`."""
        return WalletStore(self, name)

    def load_session(self, name: str) -> Session | None:
        """Return the session on a server; its refresh token may rest in the keyring."""
        return self.sessions.load(name)

    def save_session(self, name: str, session: Session | None) -> None:
        """Store the session on a server, or forget it and the tokens that came by it."""
        self.sessions.save(name, session)

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


class WalletStore:
    """What the wallet keeps about one server; a ``Store`` and a ``TokenShelf``."""

    def __init__(self, wallet: Wallet, name: str) -> None:
        self._wallet = wallet
        self._name = name

    def load_session(self) -> Session | None:
        """Return the session, or None."""
        return self._wallet.load_session(self._name)

    def reveal(self, session: Session) -> Session:
        """Return the session with its refresh token.

        Raises:
            WalletError: The keyring of the system does not give it.
        """
        return self._wallet.sessions.reveal(self._name, session)

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

    def load_token(self) -> IssuedToken | None:
        """Return the token for this resource server, or None."""
        return self._wallet.sessions.load_token(self._name)

    def save_token(self, token: IssuedToken) -> None:
        """Keep a token; where that fails, the next process asks for another."""
        with contextlib.suppress(WalletError):
            self._wallet.sessions.save_token(self._name, token)

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


def _check_tie(known: ServersFile, name: str, server: Server) -> None:
    """Refuse a resource server whose identity server is not known."""
    tied = known.servers.get(server.identity or "")
    if server.kind == "resource" and (tied is None or tied.kind != "identity"):
        raise WalletError(
            f"{name} takes tokens of an identity server, and {server.identity!r} is none here",
            "see: moothall server list",
        )


def _check_unused(known: ServersFile, name: str) -> None:
    """Refuse to let go of an identity server that others need."""
    if users := known.users_of(name):
        raise _in_use(name, users, "opens the sessions of")


def _in_use(name: str, users: Sequence[str], reason: str) -> WalletError:
    return WalletError(
        f"{name} {reason}: {', '.join(users)}",
        "remove them first, or let them use another: moothall server edit NAME --identity OTHER",
    )
