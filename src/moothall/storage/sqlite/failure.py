"""What the driver's errors mean for a call."""

import apsw

from moothall.core.errors import StorageUnavailableError

_PASSING = (
    apsw.BusyError,
    apsw.CantOpenError,
    apsw.IOError,
    apsw.ProtocolError,
    apsw.ReadOnlyError,
)
"""What may pass by itself, or once the operator has mended the disk."""

_SYNC = frozenset({apsw.SQLITE_IOERR_FSYNC, apsw.SQLITE_IOERR_DIR_FSYNC})


def is_sync_failure(error: BaseException) -> bool:
    """Tell whether the disk failed to sync: what it holds now is unknown.

    The pages may be marked clean though they never reached the disk, so neither trying
    again nor going on is safe; only a restart reads what is really there (Rebello et al.,
    "Can Applications Recover from fsync Failures?", USENIX ATC 2020).
    """
    return isinstance(error, apsw.IOError) and getattr(error, "extendedresult", 0) in _SYNC


def translate_write(error: BaseException) -> BaseException:
    """Return what a writer's caller is told; a bug stays what it is."""
    if isinstance(error, apsw.FullError):
        return _unavailable("the disk is full", error)
    if is_sync_failure(error):
        return _unavailable("the disk failed to sync", error)
    if isinstance(error, _PASSING):
        return _unavailable("the disk cannot be written", error)
    if isinstance(error, StopIteration):
        # A future refuses it, because it would end its caller's coroutine.
        wrapped = RuntimeError("the work of a write raised StopIteration")
        wrapped.__cause__ = error
        return wrapped
    return error


def translate_read(error: apsw.Error) -> Exception:
    """Return what a reader's caller is told; a READ that writes is a bug and stays one."""
    if isinstance(error, apsw.ConnectionClosedError):
        return _unavailable("the database is closed", error)
    if isinstance(error, _PASSING) and not isinstance(error, apsw.ReadOnlyError):
        return _unavailable("the disk cannot be read", error)
    return error


def _unavailable(reason: str, cause: BaseException) -> StorageUnavailableError:
    """Return the error that a client may try again after."""
    error = StorageUnavailableError(reason, remedy="try again later")
    error.__cause__ = cause
    return error
