"""Where refresh tokens rest: in the keyring of the system if one works, else beside the rest.

A refresh token is good for weeks, so it should not lie in a file that a backup or another
program picks up. A keyring is what the system offers against that; not every machine has one, and
some that have one cannot use it (no desktop, nobody there to unlock it). What is chosen says
`MOOTHALL_SECRETS`:

- `auto`, the default: the keyring if it takes the secret, else the file.
- `keyring`: never the file.
- `file`: never the keyring.

The library is imported when a secret is kept or needed, which most commands do not do: they
go with the access token. It asks the system at once, and a locked keyring may ask the person.
"""

import contextlib
import hashlib
import os
from enum import StrEnum
from typing import TYPE_CHECKING

from moothall.client.errors import WalletError

if TYPE_CHECKING:
    from keyring.backend import KeyringBackend

SERVICE = "moothall"
"""Under which name a person finds the entries in the keyring."""

VARIABLE = "MOOTHALL_SECRETS"
_DIGEST_LENGTH = 16
_UNLOCK = f"unlock it and try again, or sign in anew with {VARIABLE}=file"


class Place(StrEnum):
    """Where secrets may rest."""

    AUTO = "auto"
    KEYRING = "keyring"
    FILE = "file"


def find_place(told: str | None = None) -> Place:
    """Return where secrets may rest: as told, or as ``$MOOTHALL_SECRETS`` says.

    Raises:
        WalletError: There is no such place.
    """
    text = os.environ.get(VARIABLE, "") if told is None else told
    try:
        return Place(text or Place.AUTO)
    except ValueError:
        raise WalletError(
            f"{VARIABLE} cannot be {text!r}", f"say {', '.join(Place)}, or nothing"
        ) from None


class Vault:
    """The keyring, as far as it may be used."""

    def __init__(self, place: Place) -> None:
        self.place = place

    def check(self) -> None:
        """Refuse early what could not be kept later.

        Raises:
            WalletError: Secrets may rest in a keyring only, and there is none.
        """
        if self.place is Place.KEYRING and _find_backend() is None:
            raise WalletError(
                "there is no keyring on this system that works",
                f"keep secrets in a file that only you can read: {VARIABLE}=file",
            )

    def put(self, key: str, secret: str) -> bool:
        """Keep a secret, or return False: then it must rest elsewhere.

        Raises:
            WalletError: It must not rest elsewhere.
        """
        if self.place is Place.FILE:
            return False
        self.check()
        backend = _find_backend()
        if backend is None:
            return False
        try:
            backend.set_password(SERVICE, key, f"{_digest(secret)}:{secret}")
        except Exception as error:
            # Backends of many systems: what each of them raises is not known.
            if self.place is Place.AUTO:
                return False
            raise WalletError(
                f"the keyring did not take the new secret ({_describe(error)})", _UNLOCK
            ) from error
        return True

    def get(self, key: str) -> str:
        """Return a secret that was put there, to use it and put its successor in its place.

        Raises:
            WalletError: The keyring is locked, damaged or gone, or holds it no more.
        """
        backend = _find_backend()
        if backend is None:
            raise WalletError(
                "the session rests in a keyring, and this system has none that works now",
                "sign in again: moothall login NAME",
            )
        try:
            kept = backend.get_password(SERVICE, key)
        except Exception as error:
            # As above. Nothing is lost by it: the entry stays what it is.
            raise WalletError(
                f"the keyring of this system cannot be read ({_describe(error)})", _UNLOCK
            ) from error
        if not kept:
            raise WalletError(
                "the keyring of this system does not hold the session any more",
                "sign in again: moothall login NAME",
            )
        digest, _, secret = kept.partition(":")
        if digest != _digest(secret):
            # A damaged secret that is shown to the hall would end the session for good.
            raise WalletError(
                f"the keyring's entry {SERVICE} {key} is damaged and was left as it is",
                "mend the keyring, or sign in again: moothall login NAME",
            )
        if self.place is Place.KEYRING:
            # The successor of a secret that is used now must find its place: nothing else may
            # hold it. So a keyring that can be read only is found out before.
            self.put(key, secret)
        return secret

    def forget(self, key: str) -> None:
        """Remove a secret; one that cannot be removed was ended at the hall."""
        backend = _find_backend()
        if backend is not None:
            with contextlib.suppress(Exception):
                backend.delete_password(SERVICE, key)


def _find_backend() -> "KeyringBackend | None":
    """Return the keyring of this system, or None if there is none that keeps anything."""
    import keyring  # noqa: PLC0415 - slow, and seldom needed
    from keyring.backends import fail, null  # noqa: PLC0415

    try:
        backend = keyring.get_keyring()
    except Exception:  # noqa: BLE001 - a backend that was set up wrongly raises what it likes
        return None
    return None if isinstance(backend, (fail.Keyring, null.Keyring)) else backend


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()[:_DIGEST_LENGTH]


def _describe(error: Exception) -> str:
    """Return the kind of an error; its text may hold anything."""
    return type(error).__name__
