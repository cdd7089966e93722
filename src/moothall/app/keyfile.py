"""The sealing key: 32 random bytes in a file of their own, outside the database.

Whoever has only the database, or its backup, can neither sign tokens nor make refresh
tokens. The file is made once and never overwritten: without it, what it sealed is lost.
"""

import os
from pathlib import Path

from moothall.core.errors import ConfigurationError
from moothall.ports.entropy import Entropy

LENGTH_BYTES = 32


def load_sealing_key(path: Path, entropy: Entropy) -> bytes:
    """Return the key, making the file (mode 0600) if there is none.

    Raises:
        ConfigurationError: The file is damaged, or others may read it.
    """
    try:
        text = path.read_text("ascii").strip()
        mode = path.stat().st_mode
    except FileNotFoundError:
        return _make(path, entropy)
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{path}: the sealing key cannot be read: {error}"
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

    Raises:
        FileExistsError: There is one already.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        # Half a secret would be taken for a damaged one.
        path.unlink(missing_ok=True)
        raise
    # A file whose folder was not synced may be gone after a power cut, and with it all
    # that was sealed by it.
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _make(path: Path, entropy: Entropy) -> bytes:
    """Make the key and its file."""
    key = entropy.random_bytes(LENGTH_BYTES)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_secret_file(path, key.hex() + "\n")
    return key
