"""What the driver's errors mean for a call."""

import asyncpg

from moothall.core.errors import DeadlineExceededError, StorageUnavailableError

UNREACHABLE = (
    OSError,  # TimeoutError is one
    EOFError,
    asyncpg.PostgresConnectionError,  # 08xxx: the connection broke
    asyncpg.OperatorInterventionError,  # 57xxx: the server stops, or ended this connection
    asyncpg.InsufficientResourcesError,  # 53xxx: full disk, memory, too many connections
    asyncpg.ReadOnlySQLTransactionError,  # a standby that has not become the primary yet
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)
"""What may pass by itself, or once the operator has mended the server."""

_IN_THE_WAY = (
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.IntegrityConstraintViolationError,
    # A table has changed since this connection prepared the statement: another node migrates.
    asyncpg.InvalidCachedStatementError,
    asyncpg.OutdatedSchemaCacheError,
)
"""What may come of another call that was quicker; run again, a call sees what that one did."""


_TOO_LONG = (
    asyncpg.QueryCanceledError,
    asyncpg.TransactionTimeoutError,
    asyncpg.IdleInTransactionSessionTimeoutError,
)
"""Limits of time, of a statement or a whole transaction; nothing was kept."""


def may_pass(error: BaseException) -> bool:
    """Tell whether the same work may succeed when it is run again at once."""
    return isinstance(error, _IN_THE_WAY)


def breaks_key(error: BaseException) -> bool:
    """Tell whether it breaks a constraint: another call was quicker, or it is a bug."""
    return isinstance(error, asyncpg.IntegrityConstraintViolationError)


def is_unreachable(error: BaseException) -> bool:
    """Tell whether it is the server, or the way to it, that failed."""
    if isinstance(error, asyncpg.QueryCanceledError | asyncpg.OutdatedSchemaCacheError):
        return False
    if isinstance(error, asyncpg.InterfaceError):
        # The driver says so too of arguments that do not fit their statement, which is a bug.
        return "closed" in str(error)
    return isinstance(error, UNREACHABLE)


def translate(error: BaseException, *, is_write: bool = False) -> BaseException:
    """Return what a caller is told; a bug stays what it is."""
    told: BaseException = error
    if isinstance(error, _TOO_LONG) and not is_write:
        told = DeadlineExceededError("it took longer than the database allows")
    elif isinstance(error, _TOO_LONG):
        # Nearly always it waited for others; nothing was done.
        told = StorageUnavailableError("it took too long", remedy="try again later")
    elif isinstance(error, asyncpg.LockNotAvailableError | asyncpg.SerializationError):
        told = StorageUnavailableError("too many calls change the same", remedy="try again later")
    elif isinstance(error, asyncpg.DeadlockDetectedError):
        told = StorageUnavailableError("calls were in each other's way", remedy="try again later")
    elif is_unreachable(error):
        told = StorageUnavailableError("the database cannot be reached", remedy="try again later")
    if told is not error:
        told.__cause__ = error
    return told
