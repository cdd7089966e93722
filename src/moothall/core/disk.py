"""Disk: what is written stays, and the sentence that an operator reads when it cannot be.

Whoever makes a file at the start of a hall tells its failure by :func:`describe_failure`: a
traceback says where the program was, which helps nobody whose disk is full.
"""

import errno
import os
from pathlib import Path

_IN_THE_WAY = frozenset({errno.EEXIST, errno.EISDIR, errno.ENOTDIR, errno.ELOOP})
_FORBIDDEN = frozenset({errno.EACCES, errno.EPERM})
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EMFILE, errno.ENFILE})


def describe_failure(error: OSError, path: Path) -> str:
    """Return why ``path`` could not be written, and what helps, without a full stop.

    Args:
        error: What the system said.
        path: The file or folder that was to be written, as the operator knows it.
    """
    reason = error.strerror or (os.strerror(error.errno) if error.errno else str(error))
    return f"{reason}; {_remedy(error.errno, path)}"


def _remedy(number: int | None, path: Path) -> str:
    """Return what helps against one of the system's errors."""
    if number in _FULL:
        return "free some space on that disk, or lift the limit of this user, and start again"
    if number in _FORBIDDEN:
        return f"let the hall's user write to {path.parent}, or name another folder"
    if number in _IN_THE_WAY:
        return f"something else is in its place; move {path} away"
    if number == errno.ENOENT:
        return f"make the folder {path.parent}, or name another one"
    if number == errno.EROFS:
        return "that disk can only be read; name a folder on another one"
    return "look at that disk, or name a folder on another one"


def sync_path(path: Path) -> None:
    """Make a file survive a power cut, or what was made, renamed or removed in a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
