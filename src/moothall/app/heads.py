"""What a node keeps of the audit trail in its data folder: its signed heads, and its name.

The file of heads holds lines outside the database that are only ever added. It is opened anew
for each line, so that it may be moved away or lie on a disk that comes and goes, and it is opened
for appending only, so that the operator may let the system forbid everything else (``chattr
+a``).
"""

import asyncio
import os
import re
from pathlib import Path
from threading import Lock

from moothall.app.keyfile import write_secret_file
from moothall.core.disk import sync_path
from moothall.core.errors import ConfigurationError
from moothall.ports.entropy import Entropy

HEADS_FILE = "audit-heads.jsonl"

NODE_FILE = "node-id"
NODE_BYTES = 8

_NODE = re.compile(r"[0-9a-f]{16}\n?")

LINE_BYTES_MAX = 4_096
"""A head has about 400."""


class FileHeadLog:
    """Implements HeadLog. What it does with the disk, it does on a thread."""

    def __init__(self, path: Path) -> None:
        """Keep the lines in the file at ``path``, which is made with the first one.

        Raises:
            ConfigurationError: Its folder does not exist.
        """
        if not path.parent.is_dir():
            msg = f"audit.heads: there is no folder {path.parent}; make it, or name another one"
            raise ConfigurationError(msg)
        self._path = path
        self._appending = Lock()
        """While one thread extends the file, another may read its last byte before it is there."""

    async def append(self, line: str) -> None:
        """Add one line and return once it is durable."""
        await asyncio.to_thread(self._append_alone, line)

    async def read(self, position: int, limit: int) -> tuple[list[str], int]:
        """Return lines and the position after them."""
        return await asyncio.to_thread(self._read, position, limit)

    async def read_last(self, limit: int) -> list[str]:
        """Return the last lines."""
        return await asyncio.to_thread(self._read_last, limit)

    def _append_alone(self, line: str) -> None:
        with self._appending:
            self._append(line)

    def _append(self, line: str) -> None:
        is_new = not self._path.exists()
        descriptor = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "r+b", buffering=0) as file:
            size = file.seek(0, os.SEEK_END)
            is_torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
            content = (b"\n" if is_torn else b"") + line.encode() + b"\n"
            while content:
                content = content[file.write(content) :]
            os.fsync(descriptor)
        if is_new:
            sync_path(self._path.parent)

    def _read(self, position: int, limit: int) -> tuple[list[str], int]:
        lines: list[str] = []
        try:
            with self._path.open("rb") as file:
                file.seek(position)
                while len(lines) < limit and (line := file.readline(LINE_BYTES_MAX)):
                    lines.append(_text(line))
                return lines, file.tell()
        except FileNotFoundError:
            return [], position

    def _read_last(self, limit: int) -> list[str]:
        try:
            with self._path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - limit * LINE_BYTES_MAX))
                read = file.read(limit * LINE_BYTES_MAX)  # a device would give more without end
                return [_text(line) for line in read.splitlines()][-limit:]
        except FileNotFoundError:
            return []


def _text(line: bytes) -> str:
    """Return a line as text; what is none stays recognizably wrong."""
    return line.rstrip(b"\n").decode(errors="replace")


def find_node(folder: Path) -> str:
    """Return the name of the node whose data folder this is; empty if it has none yet.

    Raises:
        ConfigurationError: The file cannot be read, or is damaged.
    """
    path = folder / NODE_FILE
    try:
        text = path.read_text("ascii")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError):
        text = ""
    if not _NODE.fullmatch(text):
        msg = (
            f"{path}: this is not the name of a node; let the hall's user read it, or move it and "
            f"{HEADS_FILE} away, and the node gets another name and begins its heads anew"
        )
        raise ConfigurationError(msg)
    return text.strip()


def name_node(folder: Path, entropy: Entropy) -> None:
    """Give the node a name by which the hall counts its heads, unless it has one.

    Raises:
        ConfigurationError: The file cannot be written, or is damaged.
    """
    if not find_node(folder):
        write_secret_file(folder / NODE_FILE, entropy.random_bytes(NODE_BYTES).hex() + "\n")
