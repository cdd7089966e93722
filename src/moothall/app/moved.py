"""The mark of a hall that was moved to PostgreSQL: its file of rows stays, and is not served again.

Two halls that both go on from the same rows would give out the same numbers twice. So whatever
opens the file, or copies it as the hall's rows, asks here first.
"""

import time
from pathlib import Path

import msgspec

from moothall.app.keyfile import write_secret_file
from moothall.core.disk import sync_path
from moothall.core.errors import ConfigurationError

MARK_FILE = "moved-to-postgresql.json"


class Mark(msgspec.Struct, frozen=True):
    """Where the rows went."""

    database: str
    """The address, which holds no password."""
    epoch: str
    """In which cursors are written there: it tells these rows from any others."""
    moved_at_ms: int


def find_mark(folder: Path) -> Mark | None:
    """Return the mark in a data folder, or None.

    Raises:
        ConfigurationError: It cannot be read.
    """
    path = folder / MARK_FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=Mark)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        msg = (
            f"{path}: it tells that the hall was moved, and cannot be read: {error}; look which "
            "database holds the hall before you serve it from anywhere"
        )
        raise ConfigurationError(msg) from None


def leave_mark(folder: Path, mark: Mark) -> None:
    """Write the mark; once this returns it survives a power cut.

    Raises:
        ConfigurationError: It cannot be written.
    """
    remove_mark(folder)
    write_secret_file(folder / MARK_FILE, msgspec.json.encode(mark).decode() + "\n")


def remove_mark(folder: Path) -> None:
    """Take the mark away, if there is one."""
    (folder / MARK_FILE).unlink(missing_ok=True)
    sync_path(folder)


def check_not_moved(folder: Path) -> None:
    """Refuse the rows of a folder that were moved.

    Raises:
        ConfigurationError: They were; says where to, and how to go back.
    """
    if (mark := find_mark(folder)) is None:
        return
    day = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(mark.moved_at_ms / 1_000))
    msg = (
        f"data: the hall in {folder} was moved to PostgreSQL on {day}; give "
        f"--database {mark.database}. To go back to the rows as they were then, and lose what was "
        f"done since: stop all nodes and remove {folder / MARK_FILE}. If the move was interrupted, "
        "run moothall migrate again"
    )
    raise ConfigurationError(msg)
