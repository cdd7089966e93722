"""The sealing key: 32 random bytes in a file of their own, outside the database.

Whoever has only the database, or its backup, can neither sign tokens nor make refresh
tokens. The file is made once, before the database, and never overwritten: without it, what
it sealed is lost.
"""

import errno
import os
from pathlib import Path

from moothall.core.disk import describe_failure, sync_path
from moothall.core.errors import ConfigurationError
from moothall.ports.entropy import Entropy

LENGTH_BYTES = 32


def load_sealing_key(path: Path, entropy: Entropy, *, database: Path | None = None) -> bytes:
    """Return the key, making the file (mode 0600) for a hall that has no rows yet.

    Args:
        path: The file of the key; its folder exists.
        entropy: Where a new key comes from.
        database: The file whose rows the key seals. Once it holds anything, no key is made.
            None where the caller knows that there is nothing to seal yet, or the key is there.

    Raises:
        ConfigurationError: The file is damaged or lost, or others may read it; or a new one
            cannot be written.
    """
    key = _find(path)
    if key is not None:
        return key
    if database is None or not _has_content(database):
        return _make(path, entropy)
    return read_sealing_key(path, database=database)


def read_sealing_key(path: Path, *, database: Path) -> bytes:
    """Return the key, and never make one: for whoever looks at a hall, or copies it.

    Args:
        path: The file of the key.
        database: The file whose rows the key seals, as the message names it.

    Raises:
        ConfigurationError: The file is damaged or lost, or others may read it.
    """
    key = _find(path)
    if key is None:
        msg = (
            f"{path}: the sealing key of {database.name} is missing; "
            "restore it from your backup of the keys"
        )
        raise ConfigurationError(msg)
    return key


def _find(path: Path) -> bytes | None:
    """Return the key in a file; None if there is no file."""
    try:
        text = path.read_text("ascii").strip()
        mode = path.stat().st_mode
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        msg = (
            f"{path}: the sealing key cannot be read: {reason}; let the hall's user read it, or "
            "restore it from your backup of the keys"
        )
        raise ConfigurationError(msg) from None
    if os.name == "posix" and mode & 0o077:
        msg = f"{path}: others may read the sealing key; run: chmod 600 {path}"
        raise ConfigurationError(msg)
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != LENGTH_BYTES:
        msg = f"{path}: this is not a sealing key; restore it from your backup of the keys"
        raise ConfigurationError(msg)
    return key


def write_secret_file(path: Path, text: str) -> None:
    """Write a new file that only its owner can read, and sync it and its folder.

    It appears whole or not at all, whenever the power is cut: half a secret would be taken
    for a damaged one. Nobody else writes to the folder meanwhile.

    Raises:
        ConfigurationError: It cannot be written, or there is one already; says what helps.
    """
    try:
        _write_new(path, text)
    except OSError as error:
        msg = f"{path}: cannot be written: {describe_failure(error, path)}"
        raise ConfigurationError(msg) from None


def _write_new(path: Path, text: str) -> None:
    """Write a file that does not exist yet, whole or not at all."""
    if os.path.lexists(path):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
    draft = path.with_name(f"{path.name}.new")
    draft.unlink(missing_ok=True)
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(path)
    finally:
        draft.unlink(missing_ok=True)
    # A file whose folder was not synced may be gone after a power cut, and with it all
    # that was sealed by it.
    sync_path(path.parent)


def _has_content(database: Path) -> bool:
    """Tell whether there is anything in the file; where SQLite never came to write, is not."""
    try:
        return database.stat().st_size > 0
    except FileNotFoundError:
        return False


def _make(path: Path, entropy: Entropy) -> bytes:
    """Make the key and its file."""
    key = entropy.random_bytes(LENGTH_BYTES)
    write_secret_file(path, key.hex() + "\n")
    return key
