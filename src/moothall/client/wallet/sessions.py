"""Sessions and tokens at rest: `sessions.json`, with or without the secrets themselves.

Who is signed in where, and tokens that live minutes, stand in the file. A refresh token stands
there only where no keyring takes it (`secrets.py`). The keyring is written first: a crash then
leaves an older access token beside a newer refresh token, which is no harm.
"""

import secrets as chance
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from msgspec.structs import replace

from moothall.client.errors import WalletError
from moothall.client.store import IssuedToken, Session
from moothall.client.wallet.files import FORMAT, FileLock, encode_file, read_file, write_file
from moothall.client.wallet.model import SessionsFile
from moothall.client.wallet.secrets import Vault

T = TypeVar("T")


class SessionBook:
    """The sessions of a wallet, by the name of the server.

    Every method raises ``WalletDamagedError`` if the file is damaged, and leaves it as it is.
    """

    def __init__(self, folder: Path, vault: Vault) -> None:
        self._path = folder / "sessions.json"
        self._lock_path = folder / "sessions.lock"
        self._vault = vault

    def read(self) -> SessionsFile:
        """Return what the file holds."""
        return read_file(self._path, SessionsFile) or SessionsFile()

    @property
    def is_new(self) -> bool:
        """Whether nobody was ever signed in by this wallet."""
        return not self._path.exists()

    def load(self, name: str) -> Session | None:
        """Return a session; without refresh token, if that rests in the keyring."""
        return self.read().sessions.get(name)

    def reveal(self, name: str, session: Session) -> Session:
        """Return a session with its refresh token.

        Raises:
            WalletError: The keyring does not give it.
        """
        if session.refresh_token:
            return session
        key = self.read().keyring.get(name)
        if key is None:
            raise WalletError(f"nobody is signed in to {name} any more", "moothall login NAME")
        return replace(session, refresh_token=self._vault.get(key))

    def save(self, name: str, session: Session | None) -> None:
        """Keep a session, or forget it and the tokens that came by it.

        Raises:
            WalletError: It cannot be kept.
        """

        def change(known: SessionsFile) -> SessionsFile:
            old, old_key = known.sessions.get(name), known.keyring.get(name)
            sessions, keyring = _without(known.sessions, name), _without(known.keyring, name)
            if session is None:
                # First the secret, so that a crash between leaves none behind.
                if old_key is not None:
                    self._vault.forget(old_key)
            else:
                is_same = old is not None and old.session_id == session.session_id
                key = old_key if old_key and is_same else f"{name} {chance.token_hex(16)}"
                if self._vault.put(key, session.refresh_token):
                    sessions[name] = replace(session, refresh_token="")
                    keyring[name] = key
                else:
                    sessions[name] = session
            ended = old.session_id if old is not None else None
            if session is not None and session.session_id == ended:
                ended = None
            tokens = {one: data for one, data in known.tokens.items() if data.session_id != ended}
            return SessionsFile(sessions=sessions, keyring=keyring, tokens=tokens)

        self._change(change)

    def rename(self, name: str, target: str) -> None:
        """Move everything of one server to its new name."""

        def change(known: SessionsFile) -> SessionsFile:
            return SessionsFile(
                sessions=_renamed(known.sessions, name, target),
                keyring=_renamed(known.keyring, name, target),
                tokens=_renamed(known.tokens, name, target),
            )

        self._change(change)

    def load_token(self, name: str) -> IssuedToken | None:
        """Return the token for a resource server."""
        return self.read().tokens.get(name)

    def save_token(self, name: str, token: IssuedToken | None) -> None:
        """Keep the token for a resource server, or forget it."""

        def change(known: SessionsFile) -> SessionsFile:
            tokens = _without(known.tokens, name)
            # A session that ended meanwhile in another process leaves no token behind.
            if token is not None and token.session_id in _session_ids(known):
                tokens[name] = token
            return replace(known, tokens=tokens)

        self._change(change)

    def _change(self, change: Callable[[SessionsFile], SessionsFile]) -> None:
        with FileLock(self._lock_path).held():
            known = replace(self.read(), format=FORMAT)
            changed = change(known)
            if changed == known:
                return
            write_file(self._path, encode_file(changed))
        for key in set(known.keyring.values()) - set(changed.keyring.values()):
            self._vault.forget(key)


def _without(entries: Mapping[str, T], name: str) -> dict[str, T]:
    return {one: data for one, data in entries.items() if one != name}


def _renamed(entries: Mapping[str, T], name: str, target: str) -> dict[str, T]:
    return {(target if one == name else one): data for one, data in entries.items()}


def _session_ids(known: SessionsFile) -> set[str]:
    return {session.session_id for session in known.sessions.values()}
