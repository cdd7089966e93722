"""A keyring in a file, as badly behaved as told; chosen by keyring's own configuration.

In a process of its own: ``PYTHON_KEYRING_BACKEND=tests.unit.client.file_keyring.FileKeyring``.
"""

import json
import os
from pathlib import Path

from keyring.backend import KeyringBackend
from keyring.errors import KeyringLocked, PasswordDeleteError, PasswordSetError


class FileKeyring(KeyringBackend):
    """Keeps entries in the file that ``$FILE_KEYRING`` names."""

    priority = 0.1

    def __init__(self, path: Path | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # keyring has no types there
        self.path = path or Path(os.environ.get("FILE_KEYRING", "/nonexistent"))
        self.is_locked = False
        self.is_read_only = False

    def read(self) -> dict[str, str]:
        if self.is_locked:
            raise KeyringLocked
        if not self.path.exists():
            return {}
        entries: dict[str, str] = json.loads(self.path.read_bytes())
        return entries

    def write(self, entries: dict[str, str]) -> None:
        if self.is_read_only:
            raise PasswordSetError
        self.path.write_text(json.dumps(entries))

    def get_password(self, service: str, username: str) -> str | None:
        return self.read().get(f"{service}/{username}")

    def set_password(self, service: str, username: str, password: str) -> None:
        self.write({**self.read(), f"{service}/{username}": password})

    def delete_password(self, service: str, username: str) -> None:
        entries = self.read()
        if entries.pop(f"{service}/{username}", None) is None:
            raise PasswordDeleteError
        self.write(entries)
